// A Pub/Sub on this machine: Google's own fake, in memory, at a free port of its own choice.
//
// It prints its address and serves until it is stopped. PUBSUB_EMULATOR_HOST leads clients there.
//
//	fake-pubsub [-late N]    N times, a pull waits in vain until its deadline: nothing was published
package main

import (
	"flag"
	"fmt"

	"cloud.google.com/go/pubsub/pstest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// late answers as Pub/Sub itself does when nothing is published for long, without the waiting.
type late struct{ left int }

func (l *late) React(any) (bool, any, error) {
	if l.left == 0 {
		return false, nil, nil
	}
	l.left--
	return true, nil, status.Error(codes.DeadlineExceeded, "Deadline Exceeded")
}

func main() {
	times := flag.Int("late", 0, "how many pulls wait in vain")
	flag.Parse()
	pulls := pstest.ServerReactorOption{FuncName: "Pull", Reactor: &late{*times}}
	fmt.Println(pstest.NewServer(pulls).Addr)
	select {}
}
