package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// streamResult is what a stream client saw: the sums of both ends in both
// directions, and how long each took.
type streamResult struct {
	DownSent, DownGot string
	UpSent, UpGot     string
	Down, Up          time.Duration
}

// equal fails the test unless both ends agree.
func (r streamResult) equal(t *testing.T, bytes int64) {
	t.Helper()
	rate := func(d time.Duration) float64 { return float64(bytes) * 8 / d.Seconds() / 1e6 }
	t.Logf("%d MiB: down %.0f Mbit/s, up %.0f Mbit/s", bytes>>20, rate(r.Down), rate(r.Up))
	if r.DownSent == "" || r.DownSent != r.DownGot {
		t.Errorf("download: the server sent %s, the client got %s", r.DownSent, r.DownGot)
	}
	if r.UpSent == "" || r.UpSent != r.UpGot {
		t.Errorf("upload: the client sent %s, the server got %s", r.UpSent, r.UpGot)
	}
}

// noise returns n bytes that no end can guess or compress.
func noise(n int64) io.Reader {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rand.Uint32())
	}
	return io.LimitReader(rand.NewChaCha8(seed), n)
}

// streamServer serves port 8080, or another ADDRESS: GET /N sends N bytes with their SHA-256 in a
// trailer, POST / answers the SHA-256 of what it was sent.
func streamServer(args []string) error {
	address := ":8080"
	if len(args) > 0 {
		address = args[0]
	}
	http.HandleFunc("GET /{n}", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Trailer", "Sum")
		sum := sha256.New()
		if _, err := io.CopyBuffer(io.MultiWriter(w, sum), noise(n), make([]byte, 256<<10)); err != nil {
			return
		}
		w.Header().Set("Sum", hex.EncodeToString(sum.Sum(nil)))
	})
	http.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		if _, err := io.CopyBuffer(sum, r.Body, make([]byte, 256<<10)); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, hex.EncodeToString(sum.Sum(nil)))
	})
	return http.ListenAndServe(address, nil)
}

// streamClient moves bytes down and up: ADDRESS BYTES.
func streamClient(args []string) (streamResult, error) {
	var r streamResult
	if len(args) != 2 {
		return r, errors.New("stream-client ADDRESS BYTES")
	}
	n, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return r, err
	}
	url := "http://" + args[0] + "/"
	return r, errors.Join(r.download(url, n), r.upload(url, n))
}

func (r *streamResult) download(url string, n int64) error {
	start := time.Now()
	resp, err := http.Get(url + strconv.FormatInt(n, 10))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	sum := sha256.New()
	got, err := io.CopyBuffer(sum, resp.Body, make([]byte, 256<<10))
	if err != nil {
		return err
	}
	if got != n {
		return fmt.Errorf("download of %d bytes ended after %d", n, got)
	}
	r.Down = time.Since(start)
	r.DownGot, r.DownSent = hex.EncodeToString(sum.Sum(nil)), resp.Trailer.Get("Sum")
	return nil
}

func (r *streamResult) upload(url string, n int64) error {
	start := time.Now()
	sum := sha256.New()
	resp, err := http.Post(url, "application/octet-stream", io.TeeReader(noise(n), sum))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("upload: status %d: %s", resp.StatusCode, strings.TrimSpace(string(answer)))
	}
	r.Up = time.Since(start)
	r.UpSent, r.UpGot = hex.EncodeToString(sum.Sum(nil)), string(answer)
	return nil
}
