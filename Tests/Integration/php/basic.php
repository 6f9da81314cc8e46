<?php
// Ordinary phpredis work on the address in argv; prints one JSON object with what it saw.

// A third argument is the file of an authority: then the client speaks TLS.
[, $host, $port] = $argv;
$tls = isset($argv[3]) ? ['stream' => ['cafile' => $argv[3]]] : [];
$seen = [];

$redis = new Redis();
$redis->connect(($tls ? 'tls://' : '') . $host, (int) $port, 2.0, null, 0, 0, $tls);
$seen['set'] = $redis->set('php:key', "binary\r\n\0value");
$seen['get'] = $redis->get('php:key') === "binary\r\n\0value";
$seen['missing'] = $redis->get('php:missing');
$seen['hash'] = $redis->hMSet('php:hash', ['a' => '1', 'b' => '2']) ? $redis->hGetAll('php:hash') : [];
$redis->rPush('php:list', 'x', 'y', 'z');
$seen['list'] = $redis->lRange('php:list', 0, -1);

$pipe = $redis->multi(Redis::PIPELINE);
for ($i = 0; $i < 1000; $i++) {
    $pipe->incr('php:counter');
}
$seen['pipeline'] = $pipe->exec() === range(1, 1000);
$seen['transaction'] = $redis->multi()->set('php:t', '1')->incr('php:t')->exec();
$seen['script'] = $redis->eval('return {KEYS[1], ARGV[1]}', ['k', 'v'], 1);

try {
    $redis->rawCommand('INCRBYFLOAT', 'php:key', 'x');
    $seen['error'] = $redis->getLastError();
} catch (RedisException $failure) {
    $seen['error'] = $failure->getMessage();
}
$redis->close();

// A persistent connection is found again, usable, by the next request of the same worker.
for ($i = 0; $i < 3; $i++) {
    $persistent = new Redis();
    $persistent->pconnect(
        ($tls ? 'tls://' : '') . $host, (int) $port, 2.0, 'redpool', 0, 0, $tls);
    $seen['persistent'][] = $persistent->incr('php:persistent');
    unset($persistent);
}
echo json_encode($seen), "\n";
