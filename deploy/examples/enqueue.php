<?php
// Enqueues certificates and waits for their results.
// Usage: php enqueue.php QUEUE.DB REFERENCE CERTIFICATE_ID…
// The user has to be a member of the group that owns the queue (certcommit).

declare(strict_types=1);

[, $path, $reference] = $argv;
$ids = array_slice($argv, 3);

$queue = new SQLite3($path, SQLITE3_OPEN_READWRITE);
$queue->enableExceptions(true);
$queue->busyTimeout(5000); // waits up to 5 s for other writers

// One transaction, whole or not at all. An ID that is known already stays as it is; bad input is an error.
$queue->exec('BEGIN IMMEDIATE');
try {
    $insert = $queue->prepare('INSERT OR IGNORE INTO submissions (certificate_id, reference) VALUES (?, ?)');
    foreach ($ids as $id) {
        $insert->bindValue(1, $id, SQLITE3_TEXT);
        $insert->bindValue(2, $reference, SQLITE3_TEXT);
        $insert->execute()->finalize();
        $insert->reset();
    }
    $queue->exec('COMMIT');
} catch (Exception $refused) {
    $queue->exec('ROLLBACK');
    fwrite(STDERR, "refused, and nothing was enqueued: {$refused->getMessage()}\n");
    exit(1);
}

$open = $queue->prepare("SELECT count(*) FROM submissions
                          WHERE reference = ? AND state IN ('pending', 'in_flight', 'in_doubt')");
$open->bindValue(1, $reference, SQLITE3_TEXT);
while ($open->execute()->fetchArray(SQLITE3_NUM)[0] > 0) {
    $open->reset();
    sleep(1);
}
$report = $queue->prepare("SELECT certificate_id, state, order_id, status_text, coalesce(error_code, '')
                             FROM submission_report WHERE reference = ? ORDER BY id");
$report->bindValue(1, $reference, SQLITE3_TEXT);
$rows = $report->execute();
while ($row = $rows->fetchArray(SQLITE3_NUM)) {
    echo implode('|', $row), "\n";
}
