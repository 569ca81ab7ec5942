package main

import (
	"slices"
	"testing"
)

func TestNumbers(t *testing.T) {
	for name, row := range map[string]struct {
		read func(option, text string, most int) ([]int, error)
		text string
		want []int
		err  string
	}{
		"one":                {numbersOf, "7", []int{7}, ""},
		"some, as they come": {numbersOf, "1000,1,100,100", []int{1000, 1, 100, 100}, ""},
		"none":               {numbersOf, "", nil, `-n: "" is no number within 1-1000`},
		"a comma too many":   {numbersOf, "1,", nil, `-n: "" is no number within 1-1000`},
		"a blank":            {numbersOf, "1, 2", nil, `-n: " 2" is no number within 1-1000`},
		"a word":             {numbersOf, "1,many", nil, `-n: "many" is no number within 1-1000`},
		"zero":               {numbersOf, "1,0", nil, `-n: "0" is no number within 1-1000`},
		"negative":           {numbersOf, "-1", nil, `-n: "-1" is no number within 1-1000`},
		"one too large":      {numbersOf, "1000,1001", nil, `-n: "1001" is no number within 1-1000`},
		"no machine's":       {numbersOf, "99999999999999999999", nil, `-n: "99999999999999999999" is no number within 1-1000`},
		"powers of two":      {powersOf, "1,512,2", []int{1, 512, 2}, ""},
		"no power of two":    {powersOf, "1,48", nil, "-n: 48 is no power of two"},
		"no number either":   {powersOf, "1,0", nil, `-n: "0" is no number within 1-1000`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := row.read("-n", row.text, 1000)
			said := ""
			if err != nil {
				said = err.Error()
			}
			if !slices.Equal(got, row.want) || said != row.err {
				t.Errorf("%v, %q; want %v, %q", got, said, row.want, row.err)
			}
		})
	}
}
