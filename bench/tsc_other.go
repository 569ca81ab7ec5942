//go:build !amd64

package main

import "time"

var begun = time.Now()

// tsc stands in with nanoseconds where there is no time stamp counter.
func tsc() uint64 { return uint64(time.Since(begun)) }
