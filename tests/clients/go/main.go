// A client as the existing Go clients are written: nhooyr.io/websocket for the connection,
// google.golang.org/protobuf for the messages. It takes the whole course of a session, then sends
// messages from many goroutines over the one connection, and says how many calls a second that was.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"imclient/pb"
	"imclient/sessionpb"
)

const (
	methodSetCxnParams  = "/v1/conn/white/setCxnParams"
	methodSetUserParams = "/v1/conn/white/setUserParams"
	methodKeepAlive     = "/v1/conn/keepAlive"
	methodLogin         = "/v1/user/white/login"
	methodGetFriendList = "/v1/relation/getFriendList"
	methodSendMsgList   = "/v1/msg/sendMsgList"
)

func main() {
	url := flag.String("url", "ws://127.0.0.1:8080/ws", "the gateway")
	encrypt := flag.String("encrypt", "", "the gateway's public key (PEM); absent: a plain session")
	goroutines := flag.Int("goroutines", 64, "how many send at once")
	calls := flag.Int("calls", 300, "how many calls each makes")
	timeout := flag.Duration("timeout", 2*time.Minute, "how long all of it may take")
	flag.Parse()

	log.SetFlags(0)
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	if err := run(ctx, *url, *encrypt, *goroutines, *calls); err != nil {
		log.Println("failed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url, publicKeyFile string, goroutines, calls int) error {
	session, err := connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer session.close()

	if err := setCxnParams(ctx, session, publicKeyFile); err != nil {
		return err
	}
	userID, err := login(ctx, session)
	if err != nil {
		return err
	}
	if err := session.call(ctx, methodKeepAlive, nil, nil); err != nil {
		return err
	}
	friends, err := getFriendList(ctx, session)
	if err != nil {
		return err
	}
	log.Printf("logged in as %s, %d friends", userID, len(friends))
	return sendFromMany(ctx, session, userID, friends, goroutines, calls)
}

func setCxnParams(ctx context.Context, session *session, publicKeyFile string) error {
	params := &sessionpb.SetCxnParamsReq{
		PackageId:   "go-example",
		Platform:    "linux",
		DeviceId:    "go-example-device",
		DeviceModel: "Go",
		OsVersion:   "12",
		AppVersion:  "1.0.0",
		Language:    "zh-CN",
		NetworkUsed: "ethernet",
	}
	var cipher *frameCipher
	if publicKeyFile != "" {
		var err error
		if cipher, err = newFrameCipher(publicKeyFile, params); err != nil {
			return fmt.Errorf("encryption: %w", err)
		}
	}
	// The answer is already encrypted: the cipher is in force once the request is on its way.
	return session.callThenEncrypt(ctx, methodSetCxnParams, params, cipher)
}

// login gets a token the public way, then shows it.
func login(ctx context.Context, session *session) (string, error) {
	answer := &pb.LoginResp{}
	request := &pb.LoginReq{Id: "go-example", Password: "123456"}
	if err := session.call(ctx, methodLogin, request, answer); err != nil {
		return "", err
	}
	if answer.Token == "" || answer.UserId == "" {
		return "", fmt.Errorf("%s: no token or no user in %v", methodLogin, answer)
	}
	params := &sessionpb.SetUserParamsReq{UserId: answer.UserId, Token: answer.Token}
	return answer.UserId, session.call(ctx, methodSetUserParams, params, nil)
}

func getFriendList(ctx context.Context, session *session) ([]string, error) {
	answer := &pb.GetFriendListResp{}
	request := &pb.GetFriendListReq{
		Page: &pb.Page{Page: 1, Size: 100},
		Opt:  pb.GetFriendListReq_OnlyId,
	}
	err := session.call(ctx, methodGetFriendList, request, answer)
	return answer.Ids, err
}

func sendFromMany(
	ctx context.Context, session *session, userID string, friends []string, goroutines, calls int,
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failures := make(chan error, goroutines)
	var running sync.WaitGroup
	begun := time.Now()
	for worker := 0; worker < goroutines; worker++ {
		running.Add(1)
		go func(worker int) {
			defer running.Done()
			for number := 0; number < calls; number++ {
				request := message(userID, friends, fmt.Sprintf("%d-%d", worker, number))
				answer := &pb.SendMsgListResp{}
				if err := session.call(ctx, methodSendMsgList, request, answer); err != nil {
					failures <- err
					cancel()
					return
				}
			}
		}(worker)
	}
	running.Wait()
	took := time.Since(begun)
	select {
	case err := <-failures:
		return err
	default:
	}
	total := goroutines * calls
	if unanswered, pushes, err := session.account(); err != nil {
		return err
	} else if unanswered != 0 {
		return fmt.Errorf("%d calls were never answered", unanswered)
	} else {
		log.Printf("%d calls by %d goroutines over one connection in %v: %.0f calls per second, %d pushes",
			total, goroutines, took.Round(time.Millisecond), float64(total)/took.Seconds(), pushes)
	}
	return nil
}

func message(userID string, friends []string, id string) proto.Message {
	conversation := userID
	if len(friends) > 0 {
		conversation = friends[0]
	}
	return &pb.SendMsgListReq{
		MsgDataList: []*pb.MsgData{{
			ClientMsgId: id,
			ClientTime:  fmt.Sprint(time.Now().UnixMilli()),
			SenderId:    userID,
			ConvId:      conversation,
			ContentType: 1,
			Content:     []byte("hello from go, " + id),
			Options:     &pb.MsgData_Options{StorageForServer: true, UpdateConvMsg: true},
			OfflinePush: &pb.MsgData_OfflinePush{Title: "go", Content: "hello"},
		}},
	}
}
