# The function that sends on what is parked in Evenkeel's standby table, its schedule, its role and its alarms.

variable "function_name" {
  type    = string
  default = "evenkeel-drain"
}

variable "zip" {
  description = "The zip that scripts/lambda/package made."
  type        = string
}

variable "architecture" {
  description = "That of the zip: arm64 or x86_64."
  type        = string
  default     = "arm64"
}

variable "application" {
  description = "The application whose processes park in the table (publish.application)."
  type        = string
}

variable "table_name" {
  type    = string
  default = "evenkeel-standby"
}

variable "table_stream_arn" {
  description = "Output stream_arn of standby.tf."
  type        = string
}

variable "table_policy_arn" {
  description = "Output policy_arn of standby.tf."
  type        = string
}

variable "brokers" {
  description = "Bootstrap addresses of the cluster's IAM listener, HOST:9098 by commas."
  type        = string
}

variable "cluster_arn" {
  description = "ARN of the MSK cluster."
  type        = string
}

variable "topic_pattern" {
  description = "Topics that the application publishes to, its dead-letter topic among them, with * for any text."
  type        = string
  default     = "*"
}

variable "subnet_ids" {
  description = "Subnets from which the brokers can be reached, with a way to DynamoDB (a gateway endpoint)."
  type        = list(string)
}

variable "security_group_ids" {
  description = "Groups that the brokers' group lets in at port 9098."
  type        = list(string)
}

variable "oldest_age_seconds_max" {
  description = "Age of the oldest parked event above which somebody is called."
  type        = number
  default     = 600
}

variable "alarm_topic_arn" {
  description = "SNS topic that is told of alarms."
  type        = string
}

data "aws_partition" "current" {}
data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

resource "aws_lambda_function" "drain" {
  function_name    = var.function_name
  description      = "Sends on what is parked in Evenkeel's standby table."
  runtime          = "provided.al2023"
  architectures    = [var.architecture]
  handler          = "bootstrap"
  filename         = var.zip
  source_code_hash = filebase64sha256(var.zip)
  role             = aws_iam_role.drain.arn
  # A drainer that was killed is waited for, 5.5 s; a shorter time than 30 s leaves too little.
  timeout     = 60
  memory_size = 256
  # One for the schedule, one for the stream. More would be right too, and wait for each other.
  reserved_concurrent_executions = 2

  vpc_config {
    subnet_ids         = var.subnet_ids
    security_group_ids = var.security_group_ids
  }

  environment {
    variables = {
      EVENKEEL_PUBLISH__APPLICATION   = var.application
      EVENKEEL_STANDBY__URL           = "dynamodb:${var.table_name}"
      EVENKEEL_KAFKA__BROKERS         = var.brokers
      EVENKEEL_KAFKA__TLS__ENABLED    = "true"
      EVENKEEL_KAFKA__SASL__MECHANISM = "aws-msk-iam"
    }
  }

  depends_on = [aws_cloudwatch_log_group.drain, aws_iam_role_policy.drain]
}

resource "aws_cloudwatch_log_group" "drain" {
  name              = "/aws/lambda/${var.function_name}"
  retention_in_days = 30
}

resource "aws_iam_role" "drain" {
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

# What a process does with the table.
resource "aws_iam_role_policy_attachment" "table" {
  role       = aws_iam_role.drain.name
  policy_arn = var.table_policy_arn
}

resource "aws_iam_role_policy" "drain" {
  role = aws_iam_role.drain.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "ReadStream"
        Effect = "Allow"
        Action = [
          "dynamodb:DescribeStream",
          "dynamodb:GetRecords",
          "dynamodb:GetShardIterator",
        ]
        Resource = var.table_stream_arn
      },
      {
        Sid      = "ListStreams"
        Effect   = "Allow"
        Action   = "dynamodb:ListStreams"
        Resource = "*"
      },
      {
        Sid    = "Log"
        Effect = "Allow"
        Action = [
          "logs:CreateLogStream",
          "logs:PutLogEvents",
        ]
        Resource = "${aws_cloudwatch_log_group.drain.arn}:*"
      },
      # Lambda's own, with which it puts the function into the VPC. They name no resource.
      {
        Sid    = "Network"
        Effect = "Allow"
        Action = [
          "ec2:AssignPrivateIpAddresses",
          "ec2:CreateNetworkInterface",
          "ec2:DeleteNetworkInterface",
          "ec2:DescribeNetworkInterfaces",
          "ec2:DescribeSubnets",
          "ec2:UnassignPrivateIpAddresses",
        ]
        Resource = "*"
      },
      # The code of the function does not need them.
      {
        Sid    = "NoNetworkForTheCode"
        Effect = "Deny"
        Action = [
          "ec2:AssignPrivateIpAddresses",
          "ec2:CreateNetworkInterface",
          "ec2:DeleteNetworkInterface",
          "ec2:DescribeNetworkInterfaces",
          "ec2:DescribeSubnets",
          "ec2:UnassignPrivateIpAddresses",
        ]
        Resource = "*"
        Condition = {
          ArnEquals = {
            "lambda:SourceFunctionArn" = "arn:${data.aws_partition.current.partition}:lambda:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:function:${var.function_name}"
          }
        }
      },
      # How long the brokers remember producers is read, else 24 h are taken.
      {
        Sid    = "Cluster"
        Effect = "Allow"
        Action = [
          "kafka-cluster:Connect",
          "kafka-cluster:DescribeClusterDynamicConfiguration",
          "kafka-cluster:WriteDataIdempotently",
        ]
        Resource = var.cluster_arn
      },
      # Read, because a partition is searched where a stamp cannot tell whether an event is there.
      {
        Sid    = "Topics"
        Effect = "Allow"
        Action = [
          "kafka-cluster:DescribeTopic",
          "kafka-cluster:ReadData",
          "kafka-cluster:WriteData",
        ]
        Resource = "${replace(var.cluster_arn, ":cluster/", ":topic/")}/${var.topic_pattern}"
      },
    ]
  })
}

resource "aws_cloudwatch_event_rule" "schedule" {
  description         = "What is parked is looked for, whether anybody was woken or not."
  schedule_expression = "rate(1 minute)"
}

resource "aws_cloudwatch_event_target" "schedule" {
  rule      = aws_cloudwatch_event_rule.schedule.name
  target_id = "drain"
  arn       = aws_lambda_function.drain.arn
}

resource "aws_lambda_permission" "schedule" {
  function_name = aws_lambda_function.drain.function_name
  action        = "lambda:InvokeFunction"
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.schedule.arn
}

# The next minute tries again anyway.
resource "aws_lambda_function_event_invoke_config" "drain" {
  function_name                = aws_lambda_function.drain.function_name
  maximum_retry_attempts       = 0
  maximum_event_age_in_seconds = 60
}

resource "aws_lambda_event_source_mapping" "stream" {
  function_name                      = aws_lambda_function.drain.arn
  event_source_arn                   = var.table_stream_arn
  starting_position                  = "LATEST"
  batch_size                         = 1000
  maximum_batching_window_in_seconds = 5
  function_response_types            = ["ReportBatchItemFailures"]
  # A record is a wake-up: one that is too old, or that nobody could be woken by, is left to the schedule.
  maximum_retry_attempts        = 0
  maximum_record_age_in_seconds = 60

  # Only that something was parked. Leases and records are written all the time, by the function too.
  filter_criteria {
    filter {
      pattern = jsonencode({
        eventName = ["INSERT"]
        dynamodb  = { Keys = { sk = { S = [{ prefix = "block/" }] } } }
      })
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "nothing_moves" {
  alarm_name          = "${var.function_name}-nothing-moves"
  alarm_description   = "Events are parked and none can be sent on, or the function does not work. Its log says why."
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = aws_lambda_function.drain.function_name }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 5
  datapoints_to_alarm = 3
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "oldest_parked" {
  alarm_name          = "${var.function_name}-oldest-parked"
  alarm_description   = "The oldest parked event is too old, or nobody has looked for a while."
  namespace           = "Evenkeel"
  metric_name         = "OldestParkedAgeSeconds"
  dimensions          = { Application = var.application }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 5
  datapoints_to_alarm = 3
  threshold           = var.oldest_age_seconds_max
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

output "function_arn" {
  value = aws_lambda_function.drain.arn
}
