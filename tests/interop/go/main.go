// A subscriber by grpc-go: go run . TARGET [CA-FILE]. It prints what it gets, one line each.
package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Messages as they are: the test reads them with its own interface files.
type bytesCodec struct{}

func (bytesCodec) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (bytesCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = append([]byte{}, data...); return nil }
func (bytesCodec) Name() string                       { return "proto" }

func say(what string, err error) {
	found := status.Convert(err)
	fmt.Printf("%s %d %s\n", what, found.Code(), found.Message())
}

func stream(conn *grpc.ClientConn, method string, request []byte, count int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "x-desk", "go")
	desc := &grpc.StreamDesc{ServerStreams: true}
	call, err := conn.NewStream(ctx, desc, method, grpc.ForceCodec(bytesCodec{}))
	if err != nil {
		return err
	}
	if err := call.SendMsg(&request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := call.CloseSend(); err != nil {
		return err
	}
	for number := 0; number < count; number++ {
		var raw []byte
		if err := call.RecvMsg(&raw); err != nil {
			return err
		}
		fmt.Printf("message %s\n", base64.StdEncoding.EncodeToString(raw))
	}
	return nil
}

func main() {
	secrets := insecure.NewCredentials()
	if len(os.Args) > 2 {
		var err error
		if secrets, err = credentials.NewClientTLSFromFile(os.Args[2], ""); err != nil {
			panic(err)
		}
	}
	alive := keepalive.ClientParameters{Time: 10 * time.Second, PermitWithoutStream: true}
	conn, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(secrets),
		grpc.WithKeepaliveParams(alive))
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	checked, err := health.NewHealthClient(conn).Check(ctx, &health.HealthCheckRequest{})
	fmt.Printf("health %s %v\n", checked.GetStatus(), err)
	say("stream", stream(conn, "/orderbook.OrderbookAggregator/BookSummary", nil, 50))
	wrong := []byte{0x0a, 4, 'D', 'O', 'G', 'E'}
	say("refused", stream(conn, "/pollux.v1.MarketDataService/StreamBook", wrong, 1))
	say("unknown", stream(conn, "/pollux.v1.MarketDataService/Nothing", nil, 1))
	short, stop := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer stop()
	watch, err := health.NewHealthClient(conn).Watch(short, &health.HealthCheckRequest{})
	for err == nil {
		_, err = watch.Recv()
	}
	say("deadline", err)
}
