package keepalived

const serverEnv = "WEIR_KEEPALIVED_SERVER"

func serveAlone(string) {}
