// gc has the plugins of a node's network collect what no attachment owns any more, as a runtime does that calls GC: valid is what is named by
// container and interface on the command line.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: gc CONFLIST PLUGINS CACHE [CONTAINER/INTERFACE]...")
		os.Exit(2)
	}
	if err := collect(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func collect(conflist, plugins, cache string, names []string) error {
	list, err := libcni.ConfListFromFile(conflist)
	if err != nil {
		return err
	}
	valid := []types.GCAttachment{}
	for _, name := range names {
		container, ifname, _ := strings.Cut(name, "/")
		valid = append(valid, types.GCAttachment{ContainerID: container, IfName: ifname})
	}
	cni := libcni.NewCNIConfigWithCacheDir([]string{plugins}, cache, nil)
	return cni.GCNetworkList(context.Background(), list, &libcni.GCArgs{ValidAttachments: valid})
}
