// A vCenter for tests: govmomi's simulator, with what it lacks or gets wrong and matters here put right.
//
// It serves verified TLS on 127.0.0.1 and prints its port. Sessions, delays and faults are in front.go, what
// virtual machines do in machines.go, the computers that can stand behind them in behind.go.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io/ioutil"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator" // REST, for tags
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
)

func main() {
	certificate := flag.String("cert", "", "PEM file of the server's certificate")
	key := flag.String("key", "", "PEM file of its private key")
	port := flag.Int("port", 0, "port; 0 for a free one")
	user := flag.String("user", "administrator@vsphere.local", "the only user")
	password := flag.String("password", "", "their password")
	machines := flag.Int("vms", 2, "virtual machines in each resource pool, running")
	templates := flag.String("templates", "", "names of templates in /DC0/vm/templates, with commas between")
	snapshot := flag.String("snapshot", "base", "name of the snapshot that each template has")
	monitoring := flag.String("ha", "", "HA VM monitoring of the cluster, e.g. vmMonitoringOnly")
	pod := flag.String("pod", "", "names of datastores in the datastore cluster DC0_POD0, with commas between")
	controlFile := flag.String("control", "", "JSON file that is read at every call, see front.go")
	recordFile := flag.String("record", "", "file that gets a line of JSON for every call")
	verbose := flag.Bool("verbose", false, "the simulator's own log")
	flag.Parse()
	if !*verbose {
		log.SetOutput(ioutil.Discard)
	}

	model := simulator.VPX()
	model.Machine = *machines
	if *pod != "" {
		model.Pod, model.Datastore = 1, 1+len(strings.Split(*pod, ","))
	}
	defer model.Remove() // the datastores' folders
	check(model.Create())
	model.Service.Listen = &url.URL{User: url.UserPassword(*user, *password)}
	model.Service.RegisterEndpoints = true
	model.Service.NewServer().Close() // puts the handlers in place; we listen ourselves
	if *pod != "" {
		check(makePod(model.Service, strings.Split(*pod, ",")))
	}
	if *monitoring != "" {
		monitor(*monitoring)
	}
	front := newFront(model.Service, *controlFile, *recordFile)
	if *templates != "" {
		check(front.makeTemplates(strings.Split(*templates, ","), *snapshot))
	}

	pair, err := tls.LoadX509KeyPair(*certificate, *key)
	check(err)
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	check(err)
	server := &http.Server{
		Handler:   front,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}},
		ErrorLog:  log.New(ioutil.Discard, "", 0),
	}
	go func() { check(server.ServeTLS(listener, "", "")) }()
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// monitor sets HA VM monitoring of every cluster.
func monitor(mode string) {
	yes := true
	for _, each := range simulator.Map.All("ClusterComputeResource") {
		cluster := each.(*simulator.ClusterComputeResource)
		config := cluster.ConfigurationEx.(*types.ClusterConfigInfoEx)
		config.DasConfig.Enabled = &yes
		config.DasConfig.VmMonitoring = mode
	}
}

// makeTemplates clones the first machine and marks the clones as templates.
func (f *front) makeTemplates(names []string, snapshot string) error {
	ctx := context.Background()
	client, err := vim25.NewClient(ctx, f.service)
	if err != nil {
		return err
	}
	finder := find.NewFinder(client, false)
	source, err := finder.VirtualMachine(ctx, "/DC0/vm/DC0_C0_RP0_VM0")
	if err != nil {
		return err
	}
	root, err := finder.Folder(ctx, "/DC0/vm")
	if err != nil {
		return err
	}
	folder, err := root.CreateFolder(ctx, "templates")
	if err != nil {
		return err
	}
	pool, err := finder.ResourcePool(ctx, "/DC0/host/DC0_C0/Resources")
	if err != nil {
		return err
	}
	where := pool.Reference()
	for _, name := range names {
		var spec types.VirtualMachineCloneSpec
		spec.Location.Pool = &where
		request := &types.CloneVM_Task{
			This: source.Reference(), Folder: folder.Reference(), Name: name, Spec: spec,
		}
		ref, fault := f.clone(request, machine(source.Reference()), control{})
		if fault != nil {
			return errors.New(fault.LocalizedMessage)
		}
		made := object.NewVirtualMachine(client, ref.(types.ManagedObjectReference))
		task, err := made.CreateSnapshot(ctx, snapshot, "", false, false)
		if err != nil {
			return err
		}
		if err := task.Wait(ctx); err != nil {
			return err
		}
		if err := made.MarkAsTemplate(ctx); err != nil {
			return err
		}
	}
	return nil
}
