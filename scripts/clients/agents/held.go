// One request with Go's net/http; the environment as for held.py, READ is a ResponseHeaderTimeout.
package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func ask() (int, string, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if seconds, err := strconv.ParseFloat(os.Getenv("READ"), 64); err == nil {
		transport.ResponseHeaderTimeout = time.Duration(seconds * float64(time.Second))
	}
	client := &http.Client{Transport: transport}
	answer, err := client.Post(os.Getenv("TARGET"), "application/json", strings.NewReader("{}"))
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(body), err
}

func main() {
	status, saw, err := ask()
	line := map[string]any{"status": status, "saw": saw}
	if err != nil {
		line = map[string]any{"raised": err.Error()}
	}
	json.NewEncoder(os.Stdout).Encode(line)
}
