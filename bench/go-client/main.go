// Serves as many series as the exporter has for its paths, with Prometheus's own Go client:
// go-client ADDRESS HOSTS PATHS
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Families with one series for each path, and those with one for each entry of a closed list.
const families = 15

var lists = []int{6, 5}

func main() {
	hosts, _ := strconv.Atoi(os.Args[2])
	paths, _ := strconv.Atoi(os.Args[3])
	registry := prometheus.NewRegistry()
	each := func(visit func(host, path string)) {
		for host := 0; host < hosts; host++ {
			for path := 0; path < paths; path++ {
				visit(fmt.Sprintf("server%04d.example.com", host), fmt.Sprintf("/srv/data/customers/%04d", path))
			}
		}
	}
	value := 1.5
	for family := 0; family < families; family++ {
		gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: fmt.Sprintf("backup_path_measure_%d_bytes", family),
			Help: "As many as the exporter has",
		}, []string{"host", "path"})
		registry.MustRegister(gauge)
		each(func(host, path string) {
			value += 1234.5
			gauge.WithLabelValues(host, path).Set(value)
		})
	}
	for number, entries := range lists {
		gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: fmt.Sprintf("backup_path_list_%d", number),
			Help: "As many as the exporter has",
		}, []string{"host", "path", "state"})
		registry.MustRegister(gauge)
		each(func(host, path string) {
			for entry := 0; entry < entries; entry++ {
				gauge.WithLabelValues(host, path, fmt.Sprintf("entry%d", entry)).Set(float64(entry % 2))
			}
		})
	}
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
