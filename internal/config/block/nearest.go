package block

// Nearest returns the word that was most likely meant by a mistyped one, or ""
// if none is near: at most two letters wrong, missing, added or swapped, and at
// most a third of the word.
func Nearest(typed string, words []string) string {
	best, least := "", min(2, len(typed)/3)+1
	for _, w := range words {
		if d := distance(typed, w, least); d < least || d == least && best != "" && w < best {
			best, least = w, d
		}
	}
	return best
}

// distance counts the edits that make b of a (optimal string alignment). Words
// that differ in length by more than bound are not compared.
func distance(a, b string, bound int) int {
	if len(a)-len(b) > bound || len(b)-len(a) > bound {
		return bound + 1
	}
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			wrong := 1
			if a[i-1] == b[j-1] {
				wrong = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+wrong)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}
