package main

import (
	"fmt"
	"os"
)

type Shape interface {
	Area() float64
}

type Square struct {
	Side float64
	tags map[string]struct{}
}

var table = map[string]int{
	"a": 1,
	"{": 2,
}

func (s *Square) Area() float64 {
	return s.Side * s.Side
}

func main() {
	for i := 0; i < 3; i++ {
		if i == '{' {
			continue
		} else if i > 2 {
			break
		} else {
			fmt.Println(`raw {
				"`)
		}
	}
	switch x := os.Args[0]; x {
	case "a":
		return
	}
	go func() {
		fmt.Println("}")
	}()
	select {
	default:
	}
}
