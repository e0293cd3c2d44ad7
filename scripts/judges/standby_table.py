"""Reads the files of deploy/aws, judges them, and prints as JSON what table and policy each of them makes.

Usage: standby_table.py FOLDER
cfn-lint judges CloudFormation's; Terraform's is parsed. Exits 1 with what is wrong."""

import re
import sys

import templates


def cloudformation(path):
    resources = templates.cloudformation(path)
    table = only(resources, "AWS::DynamoDB::Table")
    if table["DeletionPolicy"] != "Retain" or table["UpdateReplacePolicy"] != "Retain":
        raise SystemExit(f"{path.name}: the table is not retained")
    table = table["Properties"]
    unknown = set(table) - {"TableName", "BillingMode", "DeletionProtectionEnabled", "AttributeDefinitions", "KeySchema",
                            "PointInTimeRecoverySpecification", "StreamSpecification"}
    if unknown:
        raise SystemExit(f"{path.name}: the table has {unknown}, which the code does not make")
    types = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    policy = only(resources, "AWS::IAM::ManagedPolicy")["Properties"]["PolicyDocument"]
    return {
        "keys": [(each["AttributeName"], each["KeyType"], types[each["AttributeName"]]) for each in table["KeySchema"]],
        "billing_mode": table["BillingMode"],
        "deletion_protection": table["DeletionProtectionEnabled"],
        "point_in_time_recovery": table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"],
        "stream": table["StreamSpecification"]["StreamViewType"],
        "actions": [action for statement in policy["Statement"] for action in statement["Action"]],
    }


def only(resources, kind):
    """The one resource of a kind."""
    found = [each for each in resources.values() if each["Type"] == kind]
    if len(found) != 1:
        raise SystemExit(f"{len(found)} resources are {kind}, not one")
    return found[0]


def terraform(path):
    resources = {(kind, name): body for kind, name, body in templates.terraform(path)}
    table = resources["aws_dynamodb_table", "standby"]
    if not table["lifecycle"][0]["prevent_destroy"]:
        raise SystemExit(f"{path.name}: the table is not retained")
    unknown = set(table) - {"name", "billing_mode", "hash_key", "range_key", "deletion_protection_enabled", "attribute",
                            "point_in_time_recovery", "stream_enabled", "stream_view_type", "lifecycle"}
    if unknown:
        raise SystemExit(f"{path.name}: the table has {unknown}, which the code does not make")
    types = {each["name"]: each["type"] for each in table["attribute"]}
    policy = resources["aws_iam_policy", "standby"]["policy"]
    return {
        "keys": [(table[role], key, types[table[role]]) for role, key in (("hash_key", "HASH"), ("range_key", "RANGE"))],
        "billing_mode": table["billing_mode"],
        "deletion_protection": table["deletion_protection_enabled"],
        "point_in_time_recovery": table["point_in_time_recovery"][0]["enabled"],
        "stream": table["stream_view_type"] if table["stream_enabled"] else None,
        # An expression of Terraform's, which is not evaluated here.
        "actions": re.findall(r'"(dynamodb:\w+)"', policy),
    }


templates.describe(sys.argv[1], {".yaml": cloudformation, ".tf": terraform})
