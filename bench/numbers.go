package main

import (
	"fmt"
	"strconv"
	"strings"
)

// mostFlows is how many flows a list of their numbers may ask for where generators of real
// packets, or two workers, share them out.
const mostFlows = 1 << 20

// mostConns is how many connections a flow table has room for at most (flow.New).
const mostConns = 1 << 27

// numbersOf reads the list of numbers of an option, comma between: one at least, each from 1
// to most.
func numbersOf(option, text string, most int) (numbers []int, err error) {
	for s := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > most {
			return nil, fmt.Errorf("%s: %q is no number within 1-%d", option, s, most)
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// powersOf is numbersOf where each must be a power of two.
func powersOf(option, text string, most int) (numbers []int, err error) {
	if numbers, err = numbersOf(option, text, most); err != nil {
		return nil, err
	}
	for _, n := range numbers {
		if n&(n-1) != 0 {
			return nil, fmt.Errorf("%s: %d is no power of two", option, n)
		}
	}
	return numbers, nil
}
