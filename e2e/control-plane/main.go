// The programs of a control plane in one file, told apart by the name they are called by, as busybox does. They share
// most of their packages, so one file is half as large as four, and linked once.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

var programs = map[string]func(){
	"etcd":                    func() { etcdmain.Main(os.Args) },
	"kube-apiserver":          func() { server(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() { server(controllers.NewControllerManagerCommand()) },
	"kube-scheduler":          func() { server(scheduler.NewSchedulerCommand()) },
}

func server(command *cobra.Command) {
	os.Exit(cli.Run(command))
}

func main() {
	// `control-plane etcd --version` is `etcd --version`.
	if _, known := programs[filepath.Base(os.Args[0])]; !known && len(os.Args) > 1 {
		os.Args = os.Args[1:]
	}
	program, known := programs[filepath.Base(os.Args[0])]
	if !known {
		fmt.Fprintln(os.Stderr, "which program? etcd, kube-apiserver, kube-controller-manager or kube-scheduler, as my name or first argument")
		os.Exit(2)
	}
	program()
}
