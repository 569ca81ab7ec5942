#!/bin/bash
# need.sh [root] [go] [PACKAGE...]: sees to it that what a make target needs is
# there. Debian packages that are missing are installed, and named; what it can't
# provide ends it with one sentence.
set -euo pipefail

say() { echo "need: $*" >&2; }
die() { say "$*"; exit 1; }

# proof is the program or file by which a package is known to be there, however
# it came.
proof() {
	case $1 in
	ca-certificates) echo /etc/ssl/certs/ca-certificates.crt ;;
	dnsmasq-base) echo dnsmasq ;;
	dnsutils) echo dig ;;
	frr) echo vtysh ;;
	iproute2) echo ip ;;
	iputils-arping) echo arping ;;
	iputils-ping) echo ping ;;
	libbpf-dev) echo /usr/include/bpf/bpf_helpers.h ;;
	libc6-dev) echo /usr/include/stdio.h ;;
	libnginx-mod-stream) echo /usr/lib/nginx/modules/ngx_stream_module.so ;;
	llvm) echo llvm-strip ;;
	keepalived) echo /usr/sbin/keepalived ;;
	kmod) echo modprobe ;;
	net-tools) echo ifconfig ;;
	nftables) echo nft ;;
	nginx-light) echo nginx ;;
	openssh-client) echo scp ;;
	openssh-server) echo sshd ;;
	openvswitch-switch) echo ovs-vswitchd ;;
	protobuf-compiler) echo protoc ;;
	user-mode-linux) echo linux.uml ;;
	*) echo "$1" ;;
	esac
}

lacks() {
	local p
	p=$(proof "$1")
	case $p in
	/*) [[ ! -e $p ]] ;;
	*) ! PATH=$PATH:/usr/sbin:/sbin command -v "$p" >/dev/null ;;
	esac
}

missing=()
for want; do
	case $want in
	root)
		[[ $(id -u) == 0 ]] || die "this makes network namespaces and drives interfaces, so it needs root: run it with sudo"
		;;
	go)
		"${GO:-go}" version >/dev/null 2>&1 || die "Go is missing: install Go 1.26 or later from https://go.dev/dl into /usr/local/go"
		;;
	*)
		if lacks "$want"; then missing+=("$want"); fi
		;;
	esac
done
[[ ${#missing[@]} == 0 ]] && exit 0

command -v apt-get >/dev/null || die "these are missing and there is no apt-get to install them: ${missing[*]}"
[[ $(id -u) == 0 ]] || die "these packages are missing, and only root can install them: ${missing[*]}"
say "installing ${missing[*]}"

# Servers among them are for the tests, which start their own: none is to start
# now as a service.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
	tail -n 20 "$log" >&2
	rm -f "$log"
	die "apt-get could not install ${missing[*]}: see above"
fi
rm -f "$log"
for p in "${missing[@]}"; do
	if lacks "$p"; then die "package $p is installed, but $(proof "$p") is not there"; fi
done
