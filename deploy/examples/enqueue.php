<?php
// Enqueues certificates and waits for their results.
// Usage: php enqueue.php QUEUE.DB REFERENCE CERTIFICATE_ID…
//
// The user must be in the group that owns the queue: for example sudo usermod -aG certcommit www-data, then restart the server
// that runs PHP.

declare(strict_types=1);

// Enqueues all IDs in one transaction, or none. A known ID stays as it is; bad input is an error.
function enqueue(SQLite3 $queue, string $reference, array $ids): void
{
    $queue->exec('BEGIN IMMEDIATE'); // takes the lock first, so it never fails halfway
    try {
        $insert = $queue->prepare('INSERT OR IGNORE INTO submissions (certificate_id, reference) VALUES (?, ?)');
        foreach ($ids as $id) {
            $insert->bindValue(1, $id, SQLITE3_TEXT);
            $insert->bindValue(2, $reference, SQLITE3_TEXT);
            $insert->execute()->finalize();
        }
        $queue->exec('COMMIT');
    } catch (Exception $error) {
        $queue->exec('ROLLBACK');
        throw new Exception("refused, and nothing was enqueued: {$error->getMessage()}");
    }
}

function select(SQLite3 $queue, string $sql, string $reference): array
{
    $select = $queue->prepare($sql);
    $select->bindValue(1, $reference, SQLITE3_TEXT);
    $result = $select->execute();
    $rows = [];
    while ($row = $result->fetchArray(SQLITE3_NUM)) {
        $rows[] = $row;
    }
    return $rows;
}

if ($argc < 4) {
    fwrite(STDERR, "usage: php {$argv[0]} QUEUE.DB REFERENCE CERTIFICATE_ID…\n");
    exit(2);
}
[, $path, $reference] = $argv;
try {
    $queue = new SQLite3($path, SQLITE3_OPEN_READWRITE); // never creates a file
    $queue->enableExceptions(true);
    $queue->busyTimeout(5000); // waits up to 5 s for other writers
    enqueue($queue, $reference, array_slice($argv, 3));

    // "held" needs an operator's decision, so it counts as closed.
    $open = "SELECT count(*) FROM submissions
              WHERE reference = ? AND state IN ('pending', 'in_flight', 'in_doubt')";
    while (select($queue, $open, $reference)[0][0] > 0) {
        sleep(1);
    }
    $report = "SELECT certificate_id, state, order_id, status_text, error_code
                 FROM submission_report WHERE reference = ? ORDER BY id";
    foreach (select($queue, $report, $reference) as $row) {
        echo implode('|', $row), "\n";
    }
} catch (Exception $error) {
    fwrite(STDERR, "{$error->getMessage()}\n");
    exit(1);
}
