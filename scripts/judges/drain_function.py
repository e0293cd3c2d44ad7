"""Reads the files of deploy/aws/function, judges them, and prints as JSON what each of them makes.

Usage: drain_function.py FOLDER
cfn-lint judges CloudFormation's; Terraform's is parsed. Exits 1 with what is wrong."""

import json
import re
import sys

import templates


def cloudformation(path):
    made = {}
    for each in templates.cloudformation(path).values():
        made.setdefault(each["Type"], []).append(each["Properties"])
    function, = made["AWS::Lambda::Function"]
    stream, = made["AWS::Lambda::EventSourceMapping"]
    role, = made["AWS::IAM::Role"]
    retries, = made["AWS::Lambda::EventInvokeConfig"]
    statements = role["Policies"][0]["PolicyDocument"]["Statement"]
    return {
        "runtime": [function["Runtime"], function["Handler"]],
        "timeout": function["Timeout"],
        "memory": function["MemorySize"],
        "concurrency": function["ReservedConcurrentExecutions"],
        "variables": sorted(function["Environment"]["Variables"]),
        "allowed": sorted(action for each in statements if each["Effect"] == "Allow" for action in listed(each["Action"])),
        "denied": sorted(action for each in statements if each["Effect"] == "Deny" for action in listed(each["Action"])),
        "table_policies": len(role["ManagedPolicyArns"]),
        "schedule": [each["ScheduleExpression"] for each in made["AWS::Events::Rule"]],
        "schedule_retries": retries["MaximumRetryAttempts"],
        "stream_answers": stream["FunctionResponseTypes"],
        "stream_retries": stream["MaximumRetryAttempts"],
        "stream_age": stream["MaximumRecordAgeInSeconds"],
        "stream_filter": json.loads(stream["FilterCriteria"]["Filters"][0]["Pattern"]),
        "alarms": sorted([each["Namespace"], each["MetricName"], each["TreatMissingData"]]
                         for each in made["AWS::CloudWatch::Alarm"]),
    }


def listed(value):
    return value if isinstance(value, list) else [value]


def terraform(path):
    made = {}
    for kind, _, body in templates.terraform(path):
        made.setdefault(kind, []).append(body)
    function, = made["aws_lambda_function"]
    stream, = made["aws_lambda_event_source_mapping"]
    retries, = made["aws_lambda_function_event_invoke_config"]
    policy, = made["aws_iam_role_policy"]
    # An expression of Terraform's, which is not evaluated here: its statements are parted by their names.
    actions = {}
    for statement in policy["policy"].split('"Sid": ')[1:]:
        effect = re.search(r'"Effect": "(\w+)"', statement).group(1)
        action = re.search(r'"Action": (\[[^]]*\]|"[^"]*")', statement).group(1)
        actions.setdefault(effect, []).extend(listed(json.loads(action)))
    pattern = stream["filter_criteria"][0]["filter"][0]["pattern"]
    return {
        "runtime": [function["runtime"], function["handler"]],
        "timeout": function["timeout"],
        "memory": function["memory_size"],
        "concurrency": function["reserved_concurrent_executions"],
        "variables": sorted(function["environment"][0]["variables"]),
        "allowed": sorted(actions["Allow"]),
        "denied": sorted(actions["Deny"]),
        "table_policies": len(made["aws_iam_role_policy_attachment"]),
        "schedule": [each["schedule_expression"] for each in made["aws_cloudwatch_event_rule"]],
        "schedule_retries": retries["maximum_retry_attempts"],
        "stream_answers": stream["function_response_types"],
        "stream_retries": stream["maximum_retry_attempts"],
        "stream_age": stream["maximum_record_age_in_seconds"],
        "stream_filter": json.loads(re.fullmatch(r"\$\{jsonencode\((.*)\)\}", pattern).group(1)),
        "alarms": sorted([each["namespace"], each["metric_name"], each["treat_missing_data"]]
                         for each in made["aws_cloudwatch_metric_alarm"]),
    }


templates.describe(sys.argv[1], {".yaml": cloudformation, ".tf": terraform})
