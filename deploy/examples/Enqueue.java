import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.Arrays;
import java.util.List;

/**
 * Enqueues certificates and waits for their results.
 * Usage: java -cp sqlite-jdbc.jar Enqueue.java QUEUE.DB REFERENCE CERTIFICATE_ID…
 *
 * The user must be in the group that owns the queue: sudo usermod -aG certcommit "$USER", then log in again.
 */
public class Enqueue {
    public static void main(String[] arguments) throws Exception {
        if (arguments.length < 3) {
            System.err.println("usage: java -cp sqlite-jdbc.jar Enqueue.java QUEUE.DB REFERENCE CERTIFICATE_ID…");
            System.exit(2);
        }
        // The driver would create a missing file.
        if (!Files.isWritable(Path.of(arguments[0]))) {
            System.err.println(arguments[0] + " doesn't exist or isn't writable: are you in the group certcommit?");
            System.exit(1);
        }
        var reference = arguments[1];
        var ids = Arrays.asList(arguments).subList(2, arguments.length);
        // Waits up to 5 s for other writers, and takes the lock first, so it never fails halfway.
        var url = "jdbc:sqlite:" + arguments[0] + "?busy_timeout=5000&transaction_mode=IMMEDIATE";
        try (var queue = DriverManager.getConnection(url)) {
            try {
                enqueue(queue, reference, ids);
            } catch (SQLException error) {
                System.err.println("refused, and nothing was enqueued: " + error.getMessage());
                System.exit(1);
            }
            while (open(queue, reference) > 0) {
                Thread.sleep(1000);
            }
            report(queue, reference);
        }
    }

    /** Enqueues all IDs in one transaction, or none. Known IDs stay as they are. */
    static void enqueue(Connection queue, String reference, List<String> ids) throws SQLException {
        queue.setAutoCommit(false);
        var sql = "INSERT OR IGNORE INTO submissions (certificate_id, reference) VALUES (?, ?)";
        try (var insert = queue.prepareStatement(sql)) {
            for (var id : ids) {
                insert.setString(1, id);
                insert.setString(2, reference);
                insert.executeUpdate();
            }
            queue.commit();
        } catch (SQLException error) {
            queue.rollback();
            throw error;
        } finally {
            queue.setAutoCommit(true);
        }
    }

    /** Counts the open submissions. "held" needs an operator's decision, so it counts as closed. */
    static int open(Connection queue, String reference) throws SQLException {
        var sql = "SELECT count(*) FROM submissions"
            + " WHERE reference = ? AND state IN ('pending', 'in_flight', 'in_doubt')";
        try (var select = queue.prepareStatement(sql)) {
            select.setString(1, reference);
            try (var rows = select.executeQuery()) {
                rows.next();
                return rows.getInt(1);
            }
        }
    }

    static void report(Connection queue, String reference) throws SQLException {
        var sql = "SELECT certificate_id, state, coalesce(order_id, ''), coalesce(status_text, ''),"
            + " coalesce(error_code, '') FROM submission_report WHERE reference = ? ORDER BY id";
        try (var select = queue.prepareStatement(sql)) {
            select.setString(1, reference);
            try (var rows = select.executeQuery()) {
                while (rows.next()) {
                    System.out.printf("%s|%s|%s|%s|%s%n", rows.getString(1), rows.getString(2), rows.getString(3),
                        rows.getString(4), rows.getString(5));
                }
            }
        }
    }
}
