// Package metrics tells Prometheus what `weir stats` and `ipvsadm -ln --stats` tell people:
// HTTP, path /metrics, the text format.
//
// Enters: GET requests.
// Leaves: the director's counters, as they are between two bursts of each worker.
// Owns: its listener.
// Drops: nothing.
// See: https://prometheus.io/docs/practices/naming/, docs/operations.md.
package metrics
