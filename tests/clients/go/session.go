package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"google.golang.org/protobuf/proto"
	"nhooyr.io/websocket"

	"imclient/sessionpb"
)

// session is one connection to the gateway, shared by any number of goroutines. Every request has
// an id of its own, by which its answer finds the goroutine that waits for it.
type session struct {
	conn   *websocket.Conn
	cancel context.CancelFunc

	mu      sync.Mutex
	nextID  int
	waiting map[string]waiter
	cipher  *frameCipher
	pushes  int
	// Why the reader ended; nil while it runs.
	broken error
	done   chan struct{}
}

type waiter struct {
	method string
	answer chan *sessionpb.ResponseBody
}

func connect(ctx context.Context, url string) (*session, error) {
	conn, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	kind, greeting, err := conn.Read(ctx)
	if err != nil {
		return nil, err
	}
	if kind != websocket.MessageText || string(greeting) != "connected" {
		return nil, fmt.Errorf("greeted with %v %q", kind, greeting)
	}
	readCtx, cancel := context.WithCancel(context.Background())
	s := &session{
		conn:    conn,
		cancel:  cancel,
		waiting: make(map[string]waiter),
		done:    make(chan struct{}),
	}
	go s.read(readCtx)
	return s, nil
}

func (s *session) close() {
	s.conn.Close(websocket.StatusNormalClosure, "")
	s.cancel()
}

// call sends a request and waits for its answer, which it decodes into `into`.
func (s *session) call(ctx context.Context, method string, request, into proto.Message) error {
	return s.callWith(ctx, method, request, into, nil)
}

// callThenEncrypt is a call after which all frames are encrypted, its own answer being the first.
func (s *session) callThenEncrypt(
	ctx context.Context, method string, request proto.Message, cipher *frameCipher,
) error {
	return s.callWith(ctx, method, request, nil, cipher)
}

func (s *session) callWith(
	ctx context.Context, method string, request, into proto.Message, next *frameCipher,
) error {
	var data []byte
	if request != nil {
		var err error
		if data, err = proto.Marshal(request); err != nil {
			return err
		}
	}
	answer, err := s.exchange(ctx, method, data, next)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if answer.Code != sessionpb.ResponseBody_Success {
		why := &sessionpb.CommonResp{}
		_ = proto.Unmarshal(answer.Data, why)
		return fmt.Errorf("%s: %v %q", method, answer.Code, why.GetMsg())
	}
	if into == nil {
		return nil
	}
	return proto.Unmarshal(answer.Data, into)
}

func (s *session) exchange(
	ctx context.Context, method string, data []byte, next *frameCipher,
) (*sessionpb.ResponseBody, error) {
	answer := make(chan *sessionpb.ResponseBody, 1)
	s.mu.Lock()
	s.nextID++
	id := strconv.Itoa(s.nextID)
	s.waiting[id] = waiter{method, answer}
	cipher := s.cipher
	if next != nil {
		s.cipher = next
	}
	s.mu.Unlock()

	frame, err := proto.Marshal(&sessionpb.RequestBody{ReqId: id, Method: method, Data: data})
	if err != nil {
		return nil, err
	}
	if err := s.conn.Write(ctx, websocket.MessageBinary, cipher.seal(frame)); err != nil {
		return nil, err
	}
	select {
	case body := <-answer:
		return body, nil
	case <-s.done:
		return nil, s.broken
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *session) read(ctx context.Context) {
	defer close(s.done)
	for {
		kind, frame, err := s.conn.Read(ctx)
		if err == nil && kind != websocket.MessageBinary {
			err = fmt.Errorf("a text frame: %q", frame)
		}
		if err == nil {
			err = s.dispatch(frame)
		}
		if err != nil {
			s.mu.Lock()
			s.broken = err
			s.mu.Unlock()
			return
		}
	}
}

func (s *session) dispatch(frame []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	plain, err := s.cipher.open(frame)
	if err != nil {
		return err
	}
	push := &sessionpb.PushBody{}
	if err := proto.Unmarshal(plain, push); err != nil {
		return err
	}
	if push.Event != sessionpb.PushEvent_PushResponseBody {
		s.pushes++
		return nil
	}
	body := &sessionpb.ResponseBody{}
	if err := proto.Unmarshal(push.Data, body); err != nil {
		return err
	}
	waiter, ok := s.waiting[body.ReqId]
	if !ok {
		return fmt.Errorf("an answer to %q, which nobody waits for", body.ReqId)
	}
	if waiter.method != body.Method {
		return fmt.Errorf("%q is answered as %q, asked was %q", body.ReqId, body.Method, waiter.method)
	}
	delete(s.waiting, body.ReqId)
	waiter.answer <- body
	return nil
}

// account says how many calls still wait for an answer, and how many pushes came.
func (s *session) account() (unanswered, pushes int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil && !errors.Is(s.broken, context.Canceled) {
		return 0, 0, s.broken
	}
	return len(s.waiting), s.pushes, nil
}
