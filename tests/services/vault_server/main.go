// A Vault server for tests: the core, its HTTP handler and the transit engine of the released module, over memory, unsealed,
// without any other engine or plugin. Prints one JSON line: {"address", "token", "unseal"}. Usage: vault-transit 127.0.0.1:PORT
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/builtin/logical/transit"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
	"github.com/hashicorp/vault/vault/seal"
)

// registry holds no plugin: every engine that the server has is compiled in.
type registry struct{}

func (registry) Contains(string, consts.PluginType) bool { return false }
func (registry) Get(string, consts.PluginType) (func() (interface{}, error), bool) {
	return nil, false
}
func (registry) Keys(consts.PluginType) []string { return nil }
func (registry) DeprecationStatus(string, consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Unknown, false
}
func (registry) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(address string) error {
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr})
	backend, err := inmem.NewInmem(nil, logger)
	if err != nil {
		return err
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:           backend,
		LogicalBackends:    map[string]logical.Factory{"transit": transit.Factory},
		CredentialBackends: map[string]logical.Factory{},
		DisableMlock:       true,
		Logger:             logger,
		NumRollbackWorkers: 1,
		BuiltinRegistry:    registry{},
	})
	if err != nil {
		return err
	}
	ctx := context.Background()
	shares := &vault.SealConfig{SecretShares: 1, SecretThreshold: 1}
	made, err := core.Initialize(ctx, &vault.InitParams{
		BarrierConfig: shares, RecoveryConfig: shares,
		LegacyShamirSeal: core.SealAccess().StoredKeysSupported() == seal.StoredKeysNotSupported,
	})
	if err != nil {
		return err
	}
	for _, share := range made.SecretShares {
		// the core takes the slice for its own and wipes it
		if _, err := core.Unseal(append([]byte(nil), share...)); err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	handler := vaulthttp.Handler.Handler(&vault.HandlerProperties{
		Core: core, ListenerConfig: &configutil.Listener{Address: address},
	})
	ready := map[string]string{
		"address": "http://" + listener.Addr().String(),
		"token":   made.RootToken,
		"unseal":  base64.StdEncoding.EncodeToString(made.SecretShares[0]),
	}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	return http.Serve(listener, handler)
}
