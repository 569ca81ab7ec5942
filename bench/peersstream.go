package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// iperf is one TCP stream through the peer: bits a second at the receiver, in calm time.
// iperf3 tells the rate of the whole stream; what the receiver's link counts says how the calm
// part of it went.
func (b *webBed) iperf(ctx context.Context, span, want time.Duration, calm calmOrder) (bits float64, _ calmTime, err error) {
	var log bytes.Buffer
	pinned := strconv.Itoa(generatorCPU)
	cmd := exec.Command("iperf3", "-s", "-p", strconv.Itoa(iperfPort), "-A", pinned)
	cmd.Stdout, cmd.Stderr = &log, &log
	server, err := b.sink.Start(cmd)
	if err != nil {
		return 0, calmTime{}, err
	}
	defer server.Kill()
	seconds := strconv.FormatFloat(max(span.Seconds(), 1), 'f', 0, 64)
	deadline, cancel := context.WithTimeout(ctx, span+patience)
	defer cancel()
	for {
		stop := make(chan struct{})
		type part struct {
			faster float64
			calm   calmTime
			err    error
		}
		parts := make(chan part, 1)
		go func() {
			faster, calm, err := b.follow(calm, want, stop)
			parts <- part{faster, calm, err}
		}()
		out, err := b.gen.Run(deadline, "iperf3", "-c", b.target(iperfPort).Addr().String(), "-p", strconv.Itoa(iperfPort), "-t", seconds, "-A", pinned, "-J")
		close(stop)
		seen := <-parts
		if seen.err != nil {
			return 0, calmTime{}, seen.err
		}
		var report struct {
			End struct {
				Received struct {
					Bits float64 `json:"bits_per_second"`
				} `json:"sum_received"`
			}
			Error string
		}
		if e := json.Unmarshal([]byte(out), &report); e == nil && report.Error == "" && report.End.Received.Bits > 0 {
			return report.End.Received.Bits * seen.faster, seen.calm, nil
		}
		// The server may not listen yet.
		select {
		case <-time.After(100 * time.Millisecond):
		case <-deadline.Done():
			return 0, calmTime{}, fmt.Errorf("iperf3: %w\n%s\n%s", cmp.Or(err, context.Cause(deadline)), cmp.Or(report.Error, out), &log)
		}
	}
}

// streamed is what the receiver's link counted while a stream flowed.
type streamed struct {
	bytes uint64
	took  time.Duration
}

func (s *streamed) add(o *streamed) { s.bytes, s.took = s.bytes+o.bytes, s.took+o.took }

func (s *streamed) rate() float64 { return float64(s.bytes) / max(s.took, 1).Seconds() }

// follow counts until it is told to stop: how many times as fast as the whole the part was that
// counts. What is there before and after the stream, when nothing comes, is left out.
func (b *webBed) follow(o calmOrder, want time.Duration, stop <-chan struct{}) (faster float64, calm calmTime, err error) {
	var f *os.File
	if err = b.sink.Do(func() (err error) {
		f, err = os.Open("/proc/thread-self/net/dev")
		return err
	}); err != nil {
		return 0, calm, err
	}
	defer f.Close()
	type reading struct {
		bytes uint64
		at    time.Time
	}
	m := meter[reading, streamed]{
		pass: func(span time.Duration, _ bool) error {
			select {
			case <-stop:
				return io.EOF
			case <-time.After(span):
				return nil
			}
		},
		read: func(*watched) (reading, error) {
			came, err := received(f, "s0")
			return reading{came, time.Now()}, err
		},
		piece: func(a, b *reading) (s streamed, took, away time.Duration) {
			if b.bytes > a.bytes {
				s = streamed{b.bytes - a.bytes, b.at.Sub(a.at)}
			}
			return s, s.took, 0
		},
		add:   (*streamed).add,
		whole: true,
	}
	counted, calm, all, err := m.slice(o, new(processors), want)
	if err != nil || all.bytes == 0 {
		return 1, calm, err
	}
	return counted.rate() / all.rate(), calm, nil
}

// received reads from a file of /proc/net/dev what a link has received.
func received(f *os.File, name string) (uint64, error) {
	var buf [4096]byte
	n, err := f.ReadAt(buf[:], 0)
	if n == 0 {
		return 0, err
	}
	for line := range strings.Lines(string(buf[:n])) {
		if link, rest, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && link == name {
			first, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			return strconv.ParseUint(first, 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/net/dev has no link %s", name)
}
