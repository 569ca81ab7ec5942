package worker

// StagesOnly keeps packets from the express, so that a test sees what the stages make of
// them.
func StagesOnly(on bool) { stagesOnly = on }
