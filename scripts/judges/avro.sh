#!/usr/bin/env bash
# Builds the Avro judge (Java's own verdicts on schemas) once, outside the clone, and prints its class path.
# Needs java, mvn and Maven Central on the first run; later runs print at once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
sources=$(cat "$here/avro/pom.xml" "$here/avro/src/main/java/AvroJudge.java" | sha256sum | cut -c1-12)
out=${XDG_CACHE_HOME:-$HOME/.cache}/evenkeel/judges/avro-$sources
mkdir -p "$out"
exec 9>"$out/.lock"
flock 9
if [ ! -e "$out/.built" ]; then
    mvn -q -B -f "$here/avro/pom.xml" -Djudge.out="$out/target" \
        package dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$out/lib" >&2
    touch "$out/.built"
fi
echo "$out/target/avro-judge.jar:$out/lib/*"
