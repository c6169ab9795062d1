//go:build unix

package kernel

import (
	"context"
	"net"
	"net/netip"
	"strconv"
)

// listen opens the kernel's sockets. Where that is not possible, the kernel opens them itself.
func (k *Kernel) listen() {
	c, err := readConnection(k.File)
	ip, ipErr := netip.ParseAddr(c.IP)
	if err != nil || ipErr != nil || !ip.Is4() || c.Transport != "tcp" {
		return
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	for _, port := range []int{c.Shell, c.IOPub, c.Stdin, c.Control, c.Heartbeat} {
		at := net.JoinHostPort(c.IP, strconv.Itoa(port))
		ln, err := lc.Listen(context.Background(), "tcp4", at)
		if err != nil {
			break
		}
		file, err := ln.(*net.TCPListener).File()
		_ = ln.Close()
		if err != nil {
			break
		}
		k.listeners = append(k.listeners, listener{"tcp://" + at, file})
	}
	if len(k.listeners) < 5 {
		k.closeListeners()
	}
}

func (k *Kernel) closeListeners() {
	for _, l := range k.listeners {
		_ = l.file.Close()
	}
	k.listeners = nil
}
