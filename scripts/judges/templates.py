"""Reads the files of a folder that deploy something on AWS, for the judges beside it."""

import json
from pathlib import Path

import cfnlint.decode
import hcl2
from cfnlint.api import ManualArgs, lint_file


def cloudformation(path):
    """The resources of a template of CloudFormation, which cfn-lint has nothing against."""
    findings = lint_file(path, config=ManualArgs(regions=["eu-west-1", "us-east-1"]))
    if findings:
        raise SystemExit(f"{path.name}: " + "; ".join(str(finding) for finding in findings))
    template, _ = cfnlint.decode.decode(str(path))
    return template["Resources"]


def terraform(path):
    """The resources of a file of Terraform: kind, name and body of each."""
    with open(path) as file:
        parsed = hcl2.load(file)
    return [(kind, name, body) for each in parsed["resource"] for kind, named in each.items() for name, body in named.items()]


def describe(folder, by_suffix):
    """Prints as JSON, by the names of the files, what the function for each file's suffix says of it."""
    files = [path for path in sorted(Path(folder).iterdir()) if path.suffix in by_suffix]
    print(json.dumps({path.name: by_suffix[path.suffix](path) for path in files}))
