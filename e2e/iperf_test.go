package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

// iperfReport is what iperf3 -J prints, as far as we look.
type iperfReport struct {
	End struct {
		SumReceived struct {
			Bytes         int64   `json:"bytes"`
			BitsPerSecond float64 `json:"bits_per_second"`
		} `json:"sum_received"`
	} `json:"end"`
	Error string `json:"error"`
}

// iperf runs iperf3 up and down with two streams each; both must move bytes.
func (b *bed) iperf(t *testing.T) {
	t.Helper()
	for _, way := range []string{"", " -R"} {
		// It listens anew for each run, and who comes before, is reset.
		for rs, said := range b.iperfs {
			eventually(t, "iperf3 listens in "+rs.Name(), func() bool {
				text := said.String()
				return strings.Count(text, "Server listening") > strings.Count(text, "Accepted connection")
			})
		}
		var r iperfReport
		out := b.run(b.client(), "iperf3 -c 10.0.0.100 -t 2 -P 2 -J"+way)
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err)
		}
		t.Logf("iperf3%s: %.0f Mbit/s", way, r.End.SumReceived.BitsPerSecond/1e6)
		if r.Error != "" || r.End.SumReceived.Bytes == 0 {
			t.Errorf("iperf3%s moved nothing: %s", way, r.Error)
		}
	}
}
