// cri asks a container runtime: the argument is a method of the Container Runtime Interface, as RuntimeService/RunPodSandbox, its request is
// JSON on standard input, and the answer comes as JSON on standard output.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	_ "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// As long as the kubelet waits.
const patience = 2 * time.Minute

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: cri SOCKET SERVICE/METHOD < request.json")
		os.Exit(2)
	}
	request, err := io.ReadAll(os.Stdin)
	if err == nil {
		var answer []byte
		answer, err = call(os.Args[1], os.Args[2], request)
		os.Stdout.Write(answer)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func call(socket, method string, request []byte) ([]byte, error) {
	in, out, err := messages(method)
	if err != nil {
		return nil, err
	}
	if err := protojson.Unmarshal(request, in); err != nil {
		return nil, fmt.Errorf("the request is no %s: %w", in.ProtoReflect().Descriptor().Name(), err)
	}
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := connection.Invoke(ctx, "/runtime.v1."+method, in, out); err != nil {
		return nil, err
	}
	return protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(out)
}

// messages returns an empty request and an empty answer of a method.
func messages(method string) (in, out proto.Message, err error) {
	name := protoreflect.FullName("runtime.v1." + strings.ReplaceAll(method, "/", "."))
	descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", method, err)
	}
	known, ok := descriptor.(protoreflect.MethodDescriptor)
	if !ok {
		return nil, nil, fmt.Errorf("%s is not a method", method)
	}
	request, err := protoregistry.GlobalTypes.FindMessageByName(known.Input().FullName())
	if err != nil {
		return nil, nil, err
	}
	answer, err := protoregistry.GlobalTypes.FindMessageByName(known.Output().FullName())
	if err != nil {
		return nil, nil, err
	}
	return request.New().Interface(), answer.New().Interface(), nil
}
