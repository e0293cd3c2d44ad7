# The table in which Evenkeel keeps events while Kafka cannot take them, and the policy of who uses it.

variable "table_name" {
  description = "One table belongs to one application."
  type        = string
  default     = "evenkeel-standby"
}

resource "aws_dynamodb_table" "standby" {
  name                        = var.table_name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = true
  # It wakes the function of function/: which keys were written, no contents.
  stream_enabled   = true
  stream_view_type = "KEYS_ONLY"

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  point_in_time_recovery {
    enabled = true
  }

  lifecycle {
    # What is parked there is nowhere else.
    prevent_destroy = true
  }
}

resource "aws_iam_policy" "standby" {
  description = "What a process of Evenkeel does with its table."
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Action = [
        "dynamodb:BatchGetItem",
        "dynamodb:DeleteItem",
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:Query",
        "dynamodb:UpdateItem",
      ]
      Resource = aws_dynamodb_table.standby.arn
    }]
  })
}

output "table_name" {
  value = aws_dynamodb_table.standby.name
}

output "stream_arn" {
  value = aws_dynamodb_table.standby.stream_arn
}

output "policy_arn" {
  description = "Attach it to the role of the application and of evenkeel worker."
  value       = aws_iam_policy.standby.arn
}
