<?php
// The scenario's routes on PHP's own sessions, kept by Debian's php-redis.
//
// Served by `php -S ... router.php`; the session settings come from the command line (`-d`), as they
// would from php.ini. Each writing route closes the session before it answers, so that a client
// that has the answer can rely on the store.

/** Sends one JSON answer and ends the request. */
function answer(array $body, int $status = 200): never
{
    http_response_code($status);
    header('Content-Type: application/json');
    echo json_encode($body);
    exit;
}

/** Opens the session and answers 401 unless it belongs to a user. */
function need_user(): void
{
    session_start();
    if (!isset($_SESSION['user'])) {
        session_destroy();
        answer(['user' => null], 401);
    }
}

$route = $_SERVER['REQUEST_METHOD'] . ' ' . parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
switch ($route) {
    case 'POST /login':
        session_start();
        session_regenerate_id(true);
        $_SESSION['user'] = $_GET['user'];
        session_write_close();
        answer(['user' => $_GET['user']]);
    case 'GET /whoami':
        // A visitor without a session gets none by looking.
        if (isset($_COOKIE[session_name()])) {
            session_start(['read_and_close' => true]);
        }
        answer(['user' => $_SESSION['user'] ?? null, 'data' => (object) ($_SESSION['data'] ?? [])]);
    case 'POST /set':
        need_user();
        $_SESSION['data'][$_GET['k']] = $_GET['v'];
        $data = $_SESSION['data'];
        session_write_close();
        answer(['data' => $data]);
    case 'GET /touch':
        need_user();
        $user = $_SESSION['user'];
        // With session.lazy_write an unchanged session only has its time to live renewed.
        session_write_close();
        answer(['user' => $user]);
    case 'POST /regenerate':
        need_user();
        session_regenerate_id(true);
        $user = $_SESSION['user'];
        session_write_close();
        answer(['user' => $user]);
    case 'POST /logout':
        need_user();
        session_destroy();
        answer(['user' => null]);
    default:
        answer(['error' => 'no such route'], 404);
}
