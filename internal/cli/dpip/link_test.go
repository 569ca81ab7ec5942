package dpip

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"weir/api/weirv1"
)

// physical is a port as DPVS's documentation shows one.
func physical() *weirv1.Link {
	return &weirv1.Link{
		Number: 1, Name: "dpdk0", Interface: "eth1", Driver: "afxdp", PciAddr: "0000:01:00.0",
		Addr: "a0:36:9f:74:ec:f0", Mtu: 1500, RxQueues: 8, TxQueues: 8,
		Up: true, Speed: 10000, FullDuplex: true, AutoNego: true, Promisc: true, Forward2Kni: true, TcEgress: true,
		Offloads: []string{"OF_RX_IP_CSUM", "OF_TX_IP_CSUM"},
		Stats:    &weirv1.LinkStats{Ipackets: 1, Opackets: 2, Ibytes: 3, Obytes: 4, Ierrors: 5, Oerrors: 6, Imissed: 7, RxNombuf: 8, MbufAvail: 9, MbufInuse: 10},
		Queues: []*weirv1.LinkQueue{
			{Queue: 0, Stats: &weirv1.LinkStats{Ipackets: 11, Opackets: 12, Ibytes: 13, Obytes: 14, Ierrors: 15, Oerrors: 16, Imissed: 17, RxNombuf: 18}},
			{Queue: 11},
		},
	}
}

func veth() *weirv1.Link {
	return &weirv1.Link{Number: 2, Name: "dpdk1", Interface: "veth1", Driver: "afpacket", Socket: 1, Addr: "02:00:00:00:00:01", Mtu: 9000, RxQueues: 1, TxQueues: 1, Allmulticast: true, TcIngress: true, Lldp: true}
}

// twinned is a port with a Linux twin.
func twinned() *weirv1.Link {
	l := veth()
	l.Kni, l.KniUp = "dpdk1.kni", true
	return l
}

func threeWorkers() []*weirv1.Worker {
	return []*weirv1.Worker{
		{Index: 1, Name: "cpu1", Type: "slave", Cpu: 1, Running: true, Queues: []*weirv1.Worker_Queue{{Device: "dpdk0"}, {Device: "dpdk1"}},
			Breaths: 100, Bursts: 10, Dropped: 1, Ipackets: 20, Ibytes: 30, Opackets: 40, Obytes: 50},
		{Index: 2, Name: "cpu2", Type: "slave", Cpu: 2, ServedBy: "cpu1", Queues: []*weirv1.Worker_Queue{{Device: "dpdk0", Queue: 1}}},
		{Index: 0, Name: "cpu0", Type: "master", Cpu: 0, Running: true},
	}
}

const physicalText = `1: dpdk0: socket 0 mtu 1500 rx-queue 8 tx-queue 8
    UP 10000 Mbps full-duplex auto-nego promisc foward2kni tc-egress
    addr A0:36:9F:74:EC:F0 OF_RX_IP_CSUM OF_TX_IP_CSUM
`

const vethText = `2: dpdk1: socket 1 mtu 9000 rx-queue 1 tx-queue 1
    DOWN 0 Mbps half-duplex fixed-nego allmulticast tc-ingress lldp
    addr 02:00:00:00:00:01
`

const totalsText = `    ipackets            opackets            ibytes              obytes
    1                   2                   3                   4
    ierrors             oerrors             imissed             rx_nombuf
    5                   6                   7                   8
    mbuf-avail          mbuf-inuse
    9                   10
`

const detailText = `    pci_addr                        driver_name                     interface
    0000:01:00.0                    afxdp                           eth1
    Queue Configuration:
        queue 0: cpu1 on cpu1
        queue 1: cpu2 on cpu2
`

const extendedText = `    xstats list:
        0     rx_good_packets: 1
        1     tx_good_packets: 2
        2     rx_good_bytes: 3
        3     tx_good_bytes: 4
        4     rx_missed_errors: 7
        5     rx_errors: 5
        6     tx_errors: 6
        7     rx_mbuf_allocation_errors: 8
        8     rx_q0_packets: 11
        9     rx_q0_bytes: 13
        10    rx_q0_errors: 15
        11    rx_q0_missed_errors: 17
        12    rx_q0_mbuf_allocation_errors: 18
        13    tx_q0_packets: 12
        14    tx_q0_bytes: 14
        15    tx_q0_errors: 16
        16    rx_q11_packets: 0
        17    rx_q11_bytes: 0
        18    rx_q11_errors: 0
        19    rx_q11_missed_errors: 0
        20    rx_q11_mbuf_allocation_errors: 0
        21    tx_q11_packets: 0
        22    tx_q11_bytes: 0
        23    tx_q11_errors: 0
`

const dataText = `<< Data Plane >>
1: cpu1: cpu1
    queues dpdk0:0 dpdk1:0
2: cpu2: cpu2
    queues dpdk0:1
    stopped, its queues are served by cpu1
`

// TestLinkShow holds the layout of the listings of ports and workers.
func TestLinkShow(t *testing.T) {
	b := newBench(t)
	b.links = func() []*weirv1.Link { return []*weirv1.Link{physical()} }
	b.workers = threeWorkers()
	for _, tc := range []struct {
		line  string
		links []*weirv1.Link
		want  result
	}{
		{line: "link show", links: []*weirv1.Link{physical(), veth()}, want: result{0, physicalText + vethText, ""}},
		{line: "link show dpdk0", want: result{0, physicalText, ""}},
		{line: "link show dpdk0 -s", want: result{0, physicalText + totalsText, ""}},
		{line: "link show -v", want: result{0, physicalText + detailText, ""}},
		{line: "link show -v dpdk1", links: []*weirv1.Link{twinned()}, want: result{0, vethText + `    pci_addr                        driver_name                     interface
    none                            afpacket                        veth1
    kni_name                        kni_state
    dpdk1.kni                       UP
    Queue Configuration:
        queue 0: cpu1 on cpu1
`, ""}},
		{line: "-sv link show", want: result{0, physicalText + totalsText + detailText + extendedText, ""}},
		{line: "link -s show dpdk0 --verbose", want: result{0, physicalText + totalsText + detailText + extendedText, ""}},
		{line: "link show cpu", want: result{0, "<< Controll Plane >>\n0: cpu0: cpu0\n    queues none\n" + dataText, ""}},
		{line: "link show cpu0", want: result{0, "<< Controll Plane >>\n0: cpu0: cpu0\n    queues none\n", ""}},
		{line: "link show cpu1 -s", want: result{0, `<< Data Plane >>
1: cpu1: cpu1
    queues dpdk0:0 dpdk1:0
    lcore_loop          pktburst            dropped
    100                 10                  1
    ipackets            ibytes              opackets            obytes
    20                  30                  40                  50
`, ""}},
		{line: "link show cpu7", want: result{1, "", "dpip: no worker runs on cpu7: `dpip link show cpu' lists the workers\n"}},
	} {
		t.Run(tc.line, func(t *testing.T) {
			links := tc.links
			if links == nil {
				links = []*weirv1.Link{physical()}
			}
			b.links = func() []*weirv1.Link { return links }
			if got := b.run(t.Context(), strings.Fields(tc.line)...); got != tc.want {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

// growing answers with counters that grow by 100 packets a round, and fall to
// zero in the round called restart.
func growing(restart int) func() []*weirv1.Link {
	round := 0
	return func() []*weirv1.Link {
		l := physical()
		l.Stats = &weirv1.LinkStats{Ipackets: uint64(100 * round), Opackets: 7}
		if round == restart {
			l.Stats = &weirv1.LinkStats{}
		}
		round++
		return []*weirv1.Link{l}
	}
}

const ratesText = `    ipackets/pps    opackets/pps    ibytes/Bps      obytes/Bps
    50              0               0               0
    ierrors/pps     oerrors/pps     imissed/pps     rx_nombuf/pps
    0               0               0               0
`

// TestLinkRates says what -i prints: the growth per second since the round before.
func TestLinkRates(t *testing.T) {
	b := newBench(t)
	b.workers = threeWorkers()
	for _, tc := range []struct {
		name    string
		line    string
		restart int
		want    string
	}{
		{"two rounds", "link show -i 2 -c 2", -1, physicalText + ratesText + physicalText + ratesText},
		{"with totals", "link show -s -i2 -c1", -1, physicalText + `    ipackets            opackets            ibytes              obytes
    100                 7                   0                   0
    ierrors             oerrors             imissed             rx_nombuf
    0                   0                   0                   0
    mbuf-avail          mbuf-inuse
    0                   0
` + ratesText},
		{"director restarted", "link show -i 2 -c 1", 1, physicalText + strings.Replace(ratesText, "50              0 ", "0               - ", 1)},
		{"in place", "link show -i 2 -c 1 -C", -1, "\x1b[H\x1b[2J" + physicalText + strings.Replace(ratesText, "50", "\x1b[1m50\x1b[0m", 1)},
		{"workers", "link show cpu1 -i 1 -c 1", -1, `<< Data Plane >>
1: cpu1: cpu1
    queues dpdk0:0 dpdk1:0
    lcore_loop/s    pktburst/s      dropped/pps
    0               0               0
    ipackets/pps    ibytes/Bps      opackets/pps    obytes/Bps
    0               0               0               0
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b.links = growing(tc.restart)
			got := b.run(t.Context(), strings.Fields(tc.line)...)
			if want := (result{0, tc.want, ""}); got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// TestLinkWatchEndsWithContext: Ctrl-C ends the rounds of -i without a failure,
// after what was printed.
func TestLinkWatchEndsWithContext(t *testing.T) {
	b := newBench(t)
	b.links = growing(-1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout, stderr bytes.Buffer
	sleeps := 0
	code := Run(ctx, []string{"link", "show", "-i", "1"}, Env{
		Stdout: &stdout, Stderr: &stderr, Client: b.client,
		Sleep: func(ctx context.Context, _ time.Duration) error {
			if sleeps++; sleeps == 3 {
				cancel()
			}
			return ctx.Err()
		},
	})
	if code != 0 || stderr.Len() != 0 || strings.Count(stdout.String(), "1: dpdk0:") != 2 {
		t.Errorf("code %d, stderr %q, stdout %q; want two rounds and success", code, &stderr, &stdout)
	}
}

// TestSleep: the system's clock obeys the context.
func TestSleep(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	if err := sleep(ctx, time.Nanosecond); err != nil {
		t.Errorf("a short sleep: %v", err)
	}
	cancel()
	if err := sleep(ctx, time.Hour); err == nil {
		t.Error("a sleep outlived its context")
	}
}

// closed is a reader of our output that has gone.
type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, errGone }

// TestOutputLost: what could not be printed is a failure.
func TestOutputLost(t *testing.T) {
	b := newBench(t)
	b.links = func() []*weirv1.Link { return []*weirv1.Link{physical()} }
	for _, line := range []string{"link show", "link show -i 1"} {
		var stderr bytes.Buffer
		code := Run(t.Context(), strings.Fields(line), Env{
			Stdout: closed{}, Stderr: &stderr, Client: b.client,
			Sleep: func(context.Context, time.Duration) error { return nil },
		})
		if code != 1 || stderr.String() != "dpip: gone\n" {
			t.Errorf("%s: code %d, stderr %q", line, code, &stderr)
		}
	}
}

// A driver's name that is as long as its column leaves a space behind it.
func TestLinkDetailOfLongDriver(t *testing.T) {
	const driver = "afxdp generic copy, busy polling"
	want := "    0000:01:00.0                    " + driver + " eth1\n"
	l := physical()
	l.Driver = driver
	if got := linkDetail(l, nil); !strings.Contains(got, want) {
		t.Errorf("got\n%swith no line\n%s", got, want)
	}
}
