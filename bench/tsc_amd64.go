package main

// tsc reads the processor's time stamp counter.
func tsc() uint64
