// Command kubebox holds every Kubernetes program of a test cluster in one binary: the control
// plane, the node's agents, kubectl and an etcd. Its first argument names the one to be.
//
// One binary because they share nearly all of their code; one process still runs only one of them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/restclient"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

const usage = "usage: kubebox etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubelet|kube-proxy|kubectl …"

// etcd runs a store with the configuration file given, until it is told to stop.
func etcd(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: kubebox etcd CONFIG.yaml")
	}
	config, err := embed.ConfigFromFile(args[0])
	if err != nil {
		return err
	}
	store, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer store.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	select {
	case <-stop:
		return nil
	case err := <-store.Err():
		return err
	}
}

// command is the program called name, or nil.
func command(name string) *cobra.Command {
	switch name {
	case "kube-apiserver":
		return apiserver.NewAPIServerCommand()
	case "kube-controller-manager":
		return controllers.NewControllerManagerCommand()
	case "kube-scheduler":
		return scheduler.NewSchedulerCommand()
	case "kubelet":
		return kubelet.NewKubeletCommand(context.Background())
	case "kube-proxy":
		return proxy.NewProxyCommand()
	}
	return nil
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	// The programs parse os.Args themselves.
	os.Args = os.Args[1:]
	var err error
	switch name := os.Args[0]; name {
	case "etcd":
		err = etcd(os.Args[1:])
	case "kubectl":
		err = cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand())
	default:
		program := command(name)
		if program == nil {
			fmt.Fprintln(os.Stderr, usage)
			os.Exit(2)
		}
		os.Exit(cli.Run(program))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
