package main

// derive makes the figures that are made of others: costs, of which something is taken off.
func (c *catch) derive() {
	for _, n := range c.Flows {
		c.takeOff(udpKey("cpu", n), udpKey("all", n), udpKey("own", n), baseline.name, 1)
	}
	c.costs(false)
	c.costs(true)
}

// takeOff makes what a peer costs of what all costs, each round's less the middle of what the
// same costs without the peer, whoever's rounds that was measured in: of those in which the
// processor where that is at work was calm as well, or not either. A disturbed one costs half
// as much again without the peer too, and that would be the peer's.
func (c *catch) takeOff(cost, all, without, whose string, scale float64) {
	if c.Figures[all] == nil || c.Figures[without] == nil {
		return
	}
	var of [2][]float64
	for i, x := range c.Figures[without][whose] {
		at := c.disturbance(without, whose, i)
		of[at] = append(of[at], x)
	}
	for at := range of {
		if len(of[at]) == 0 {
			of[at] = c.Figures[without][whose]
		}
	}
	own := [2]float64{middleMean(of[0]), middleMean(of[1])}
	c.Figures[cost], c.Calm[cost] = map[string][]float64{}, c.Calm[all]
	for name, v := range c.Figures[all] {
		for i, x := range v {
			c.Figures[cost][name] = append(c.Figures[cost][name], (x-own[c.disturbance(all, name, i)])*scale)
		}
	}
}

// disturbance is 1 if the generator's processor was disturbed in the time that counts of a round.
func (c *catch) disturbance(key, name string, round int) int {
	if slow := c.Slow[key][name]; round < len(slow) && len(slow[round]) > 0 && slow[round][0] > calmWithin {
		return 1
	}
	return 0
}

// costs makes what requests cost all, more than without the peers, and the reciprocal of what
// they cost the balancers.
func (c *catch) costs(closing bool) {
	key := webKey(closing)
	c.takeOff(key+" more", key+" all", key+" cable", cableName, 1e-3)
	if c.Figures[key+" cost"] == nil {
		return
	}
	c.Figures[key+" per cpu"], c.Calm[key+" per cpu"] = map[string][]float64{}, c.Calm[key+" cost"]
	for name, v := range c.Figures[key+" cost"] {
		for _, us := range v {
			c.Figures[key+" per cpu"][name] = append(c.Figures[key+" per cpu"][name], 1e6/us)
		}
	}
}
