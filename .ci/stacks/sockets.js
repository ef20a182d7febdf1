// Server: `node sockets.js serve PORT`; client: `node sockets.js ask PORT`, one line a result.
const http = require('http'), { WebSocket, WebSocketServer } = require('ws'), { Server } = require('socket.io');
const [, , role, port] = process.argv;
if (role === 'serve') {
  const server = http.createServer((request, response) => response.end('page'));
  const sockets = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request, socket, head) => {
    if (request.url !== '/ws') return;
    sockets.handleUpgrade(request, socket, head, peer => peer.on('message', (data, binary) => peer.send(data, { binary })));
  });
  new Server(server).on('connection', peer => peer.on('hello', (who, answer) => answer(`hello ${who} by ${peer.conn.transport.name}`)));
  server.listen(+port, '127.0.0.1');
} else {
  const { io } = require('socket.io-client');
  const url = `127.0.0.1:${port}`;
  const echo = size => new Promise((done, failed) => {
    const peer = new WebSocket(`ws://${url}/ws`), sent = Buffer.alloc(size, 'x');
    peer.on('open', () => peer.send(sent)).on('error', failed).on('message', data => { peer.close(); done(`${data.equals(sent)}`); });
  });
  const greet = transports => new Promise((done, failed) => {
    const peer = io(`http://${url}`, { reconnection: false, transports });
    peer.on('connect_error', failed).on('connect', () => peer.emit('hello', 'you', said => { peer.close(); done(said); }));
  });
  const tell = (name, result) => result.then(said => console.log(name, said), error => console.log(name, 'error', error.message));
  Promise.all([tell('echo', echo(10)), tell('big', echo(5 << 20)), tell('polling', greet(['polling'])), tell('websocket', greet(['websocket']))])
    .then(() => process.exit(0));
  setTimeout(() => { console.log('timed out'); process.exit(1); }, 20000);
}
