// Package clock is the director's time: ticks that both engines can read, and
// the timing wheel that wakes connections.
//
// Enters: readings of CLOCK_MONOTONIC, once per breath.
// Leaves: Ticks as plain values; the walk never reads a clock.
// Owns: a Wheel is worker-owned.
// Drops: nothing.
package clock
