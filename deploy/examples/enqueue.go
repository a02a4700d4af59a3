// Enqueues certificates and waits for their results.
// Usage: go run enqueue.go QUEUE.DB REFERENCE CERTIFICATE_ID…
//
// The user must be in the group that owns the queue: sudo usermod -aG certcommit "$USER", then log in again.
package main

import (
	"database/sql"
	"fmt"
	"log"
	"net/url"
	"os"
	"time"

	_ "github.com/mattn/go-sqlite3"
)

// enqueue adds all IDs in one transaction, or none. Known IDs stay as they are.
func enqueue(queue *sql.DB, reference string, ids []string) error {
	transaction, err := queue.Begin()
	if err != nil {
		return err
	}
	defer transaction.Rollback()
	for _, id := range ids {
		_, err := transaction.Exec(
			"INSERT OR IGNORE INTO submissions (certificate_id, reference) VALUES (?, ?)", id, reference)
		if err != nil {
			return err
		}
	}
	return transaction.Commit()
}

// wait returns when nothing is open. "held" needs an operator's decision, so it counts as closed.
func wait(queue *sql.DB, reference string) error {
	for {
		var open int
		err := queue.QueryRow(`SELECT count(*) FROM submissions
			WHERE reference = ? AND state IN ('pending', 'in_flight', 'in_doubt')`, reference).Scan(&open)
		if err != nil || open == 0 {
			return err
		}
		time.Sleep(time.Second)
	}
}

func report(queue *sql.DB, reference string) error {
	rows, err := queue.Query(`SELECT certificate_id, state, coalesce(order_id, ''), coalesce(status_text, ''),
		coalesce(error_code, '') FROM submission_report WHERE reference = ? ORDER BY id`, reference)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, state, order, status, code string
		if err := rows.Scan(&id, &state, &order, &status, &code); err != nil {
			return err
		}
		fmt.Printf("%s|%s|%s|%s|%s\n", id, state, order, status, code)
	}
	return rows.Err()
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 4 {
		fmt.Fprintf(os.Stderr, "usage: %s QUEUE.DB REFERENCE CERTIFICATE_ID…\n", os.Args[0])
		os.Exit(2)
	}
	path, reference, ids := os.Args[1], os.Args[2], os.Args[3:]
	// Never creates a file, waits up to 5 s for other writers, and takes the lock first, so it never fails halfway.
	options := "?mode=rw&_busy_timeout=5000&_txlock=immediate"
	queue, err := sql.Open("sqlite3", (&url.URL{Scheme: "file", Opaque: url.PathEscape(path)}).String()+options)
	if err != nil {
		log.Fatal(err)
	}
	defer queue.Close()
	if err := enqueue(queue, reference, ids); err != nil {
		log.Fatalf("refused, and nothing was enqueued: %v", err)
	}
	if err := wait(queue, reference); err != nil {
		log.Fatal(err)
	}
	if err := report(queue, reference); err != nil {
		log.Fatal(err)
	}
}
