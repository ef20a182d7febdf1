// Express as tutorials set it up: the session before the static files.
const express = require('express'), session = require('express-session');
const app = express();
app.use(session({ secret: 'secret', resave: false, saveUninitialized: true }));
app.use('/static', express.static(process.argv[3], { maxAge: '1h' }));
app.get('/login/:who', (request, response) => { request.session.who = request.params.who; response.redirect('/me'); });
app.get('/me', (request, response) => response.send(`you are ${request.session.who || 'nobody'}`));
app.listen(+process.argv[2], '127.0.0.1');
