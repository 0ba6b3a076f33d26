#!/usr/bin/env bash
# Builds the Vault server of the key-service tests: build.sh OUTPUT. Needs Go; about 1 GB of modules and compiled packages.
#
# `go install` of the released command is refused (its go.mod has replace directives), and would compile every cloud's plugins.
# The sdk that the release was built with was never published: the published one needs two signatures put right, nothing else.
set -euo pipefail
output=$(realpath -m "$1")
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$here/main.go" "$folder/"
cd "$folder"
go mod init vaultserver
go get github.com/hashicorp/vault@v1.21.4
for part in vault vault/sdk; do
  name=${part##*/}
  cp -r "$(go list -m -f '{{.Dir}}' "github.com/hashicorp/$part")" "$name"
  chmod -R u+w "$name"
  go mod edit -replace "github.com/hashicorp/$part=./$name"
done
sed -i 's/ActivationFunc func(context.Context, \*logical.Request, string) error/ActivationFunc func(context.Context, *logical.Request) error/' sdk/framework/backend.go
sed -i 's/restoredKeyName, err := b.lm.RestorePolicy/restoredKeyName := keyName\n\terr := b.lm.RestorePolicy/' vault/builtin/logical/transit/path_restore.go
go mod tidy
go build -o "$output" .
