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
// same costs without the peer, whoever's rounds that was measured in.
func (c *catch) takeOff(cost, all, without, whose string, scale float64) {
	if c.Figures[all] == nil || c.Figures[without] == nil {
		return
	}
	own := middleMean(c.counted(without, whose))
	c.Figures[cost], c.Calm[cost] = map[string][]float64{}, c.Calm[all]
	for name, v := range c.Figures[all] {
		for _, x := range v {
			c.Figures[cost][name] = append(c.Figures[cost][name], (x-own)*scale)
		}
	}
}

// costs makes what requests cost of what all costs with and without the peers.
func (c *catch) costs(closing bool) {
	key := webKey(closing)
	c.takeOff(key+" cost", key+" all", key+" cable", cableName, 1e-3)
	if c.Figures[key+" cost"] == nil {
		return
	}
	c.Figures[key+" per cpu"], c.Calm[key+" per cpu"] = map[string][]float64{}, c.Calm[key+" cost"]
	for name, v := range c.Figures[key+" cost"] {
		for _, us := range v {
			c.Figures[key+" per cpu"][name] = append(c.Figures[key+" per cpu"][name], 1e9/max(1e3*us, leastCost))
		}
	}
}
