// Command porcupine-verdict asks porcupine whether a history that etcd-chaos exported is linearizable.
//
//	porcupine-verdict HISTORY.jsonl
//
// It prints Ok, Illegal or Unknown (out of time); the exit code is 0, 1 or 2, and 3 where the file cannot be read.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

const patience = 5 * time.Minute

// An operation of the file; docs/history.md says what each field means. A value that is null is an absent key.
type operation struct {
	ClientId int
	Input    input
	Call     int64
	Output   output
	Return   int64
}

type input struct {
	Op    string
	Key   string
	Value *string
	Old   *string
}

type output struct {
	Value   *string
	Unknown bool
}

// The state of one key.
type register struct {
	present bool
	value   string
}

func registerOf(value *string) register {
	if value == nil {
		return register{}
	}
	return register{true, *value}
}

func step(state, in, out interface{}) (bool, interface{}) {
	now, asked, told := state.(register), in.(input), out.(output)
	switch asked.Op {
	case "read":
		return now == registerOf(told.Value), now
	case "write":
		return true, registerOf(asked.Value)
	case "cas":
		if now == registerOf(asked.Old) {
			return true, registerOf(asked.Value)
		}
		// Nobody knows of this one whether it found what it asked for.
		return told.Unknown, now
	}
	panic("unknown operation " + asked.Op)
}

func byKey(history []porcupine.Operation) [][]porcupine.Operation {
	keys := map[string][]porcupine.Operation{}
	for _, op := range history {
		key := op.Input.(input).Key
		keys[key] = append(keys[key], op)
	}
	parts := make([][]porcupine.Operation, 0, len(keys))
	for _, part := range keys {
		parts = append(parts, part)
	}
	return parts
}

var model = porcupine.Model{
	Partition: byKey,
	Init:      func() interface{} { return register{} },
	Step:      step,
	Equal:     func(a, b interface{}) bool { return a == b },
}

func read(path string) ([]porcupine.Operation, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var history []porcupine.Operation
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var op operation
		if err := json.Unmarshal(lines.Bytes(), &op); err != nil {
			return nil, fmt.Errorf("line %d: %w", len(history)+1, err)
		}
		history = append(history, porcupine.Operation{
			ClientId: op.ClientId, Input: op.Input, Call: op.Call, Output: op.Output, Return: op.Return,
		})
	}
	return history, lines.Err()
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: porcupine-verdict HISTORY.jsonl")
		os.Exit(3)
	}
	history, err := read(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	verdict := porcupine.CheckOperationsTimeout(model, history, patience)
	fmt.Println(verdict)
	switch verdict {
	case porcupine.Ok:
		os.Exit(0)
	case porcupine.Illegal:
		os.Exit(1)
	default:
		os.Exit(2)
	}
}
