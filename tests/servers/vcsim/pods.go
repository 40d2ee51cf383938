package main

import (
	"context"
	"sort"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

// makePod moves datastores into the datastore cluster, which the simulator makes empty.
func makePod(service *simulator.Service, stores []string) error {
	ctx := context.Background()
	client, err := vim25.NewClient(ctx, service)
	if err != nil {
		return err
	}
	finder := find.NewFinder(client, false)
	pod, err := finder.DatastoreCluster(ctx, "/DC0/datastore/DC0_POD0")
	if err != nil {
		return err
	}
	var list []types.ManagedObjectReference
	for _, name := range stores {
		store, err := finder.Datastore(ctx, "/DC0/datastore/"+name)
		if err != nil {
			return err
		}
		list = append(list, store.Reference())
	}
	task, err := object.NewFolder(client, pod.Reference()).MoveInto(ctx, list)
	if err != nil {
		return err
	}
	return task.Wait(ctx)
}

// fill sets how much is free on datastores and in their clusters, in GiB.
func fill(free map[string]float64) {
	for _, each := range simulator.Map.All("Datastore") {
		store := each.(*simulator.Datastore)
		if gib, ok := free[store.Name]; ok {
			update(store, []types.PropertyChange{{Name: "summary.freeSpace", Val: int64(gib * (1 << 30))}})
		}
	}
}

// recommend lets the simulator recommend, and puts right that it wants to know the place of every disk, and that
// it recommends the fullest datastore as soon as any.
func (f *front) recommend(request *types.RecommendDatastores) soap.HasFault {
	asked := *request
	selection := &asked.StorageSpec.PodSelectionSpec
	if len(selection.InitialVmConfig) == 0 && selection.StoragePod != nil {
		selection.InitialVmConfig = []types.VmPodConfigForPlacement{{StoragePod: *selection.StoragePod}}
	}
	result := &methods.RecommendDatastoresBody{}
	if err := f.service.RoundTrip(context.Background(), &methods.RecommendDatastoresBody{Req: &asked}, result); err != nil {
		said := soap.ToSoapFault(err)
		return refuse(failed(said.VimFault().(types.BaseMethodFault), said.String))
	}
	found := result.Res.Returnval.Recommendations
	sort.SliceStable(found, func(a, b int) bool { return freeAt(found[a]) > freeAt(found[b]) })
	return &recommended{found}
}

func freeAt(each types.ClusterRecommendation) int64 {
	store := simulator.Map.Get(each.Action[0].(*types.StoragePlacementAction).Destination).(*simulator.Datastore)
	return store.Summary.FreeSpace
}

// recommended is the answer of RecommendDatastores.
type recommended struct{ found []types.ClusterRecommendation }

func (r *recommended) Fault() *soap.Fault { return nil }

func (r *recommended) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	return e.EncodeElement(struct {
		Returnval types.StoragePlacementResult `xml:"returnval"`
	}{types.StoragePlacementResult{Recommendations: r.found}}, named("RecommendDatastoresResponse"))
}
