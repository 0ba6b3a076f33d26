#!/usr/bin/env bash
# Fetches the Elasticsearch of the tests: install.sh TARGET. Needs Maven and Python.
#
# It is the server that Elastic runs its own integration tests against, with a few modules left out: no reindex, no delete-by-query,
# no painless. The archive uses none of these.
set -euo pipefail
target=$(realpath -m "$1")
version=9.2.0
[ -x "$target/bin/elasticsearch" ] && exit 0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:get -Dtransitive=false \
  -Dartifact="org.elasticsearch.distribution.integ-test-zip:elasticsearch:$version:zip"
mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy -DoutputDirectory="$folder" \
  -Dartifact="org.elasticsearch.distribution.integ-test-zip:elasticsearch:$version:zip"
python3 -m zipfile -e "$folder/elasticsearch-$version.zip" "$folder"
chmod +x "$folder/elasticsearch-$version"/bin/*
mkdir -p "$(dirname "$target")"
mv "$folder/elasticsearch-$version" "$target"
# The server refuses root: whoever runs the tests must be able to let another user read it.
chmod -R a+rX "$target"
