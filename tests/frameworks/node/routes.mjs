// The scenario's routes on Express and express-session, over whatever session store it is given.
//
// Environment: PORT to listen on, TTL of a session in seconds. This file must not know which Redis
// client sits below the store: the entry files do.
import express from "express";
import session from "express-session";

/** Runs a callback-taking method of a session or a store as a promise. */
function promised(target, method) {
  return new Promise((resolve, reject) => {
    target[method]((error, result) => (error ? reject(error) : resolve(result)));
  });
}

/** Answers 401 unless the session belongs to a user. */
function needsUser(request, response, next) {
  if (request.session.user) return next();
  response.status(401).json({ user: null });
}

/** Serves the routes on PORT, with `store` keeping the sessions. */
export function serve(store) {
  const ttl = Number(process.env.TTL);
  const app = express();
  app.use(
    session({
      store,
      secret: "the same on every clone",
      resave: false,
      saveUninitialized: false,
      cookie: { maxAge: ttl * 1000 },
    }),
  );

  app.post("/login", async (request, response) => {
    await promised(request.session, "regenerate");
    request.session.user = request.query.user;
    response.json({ user: request.session.user });
  });
  app.get("/whoami", (request, response) => {
    const { user = null, data = {} } = request.session;
    response.json({ user, data });
  });
  app.post("/set", needsUser, (request, response) => {
    const data = { ...request.session.data, [request.query.k]: request.query.v };
    request.session.data = data;
    response.json({ data });
  });
  // express-session touches the store at the end of every request that left the session as it was.
  app.get("/touch", needsUser, (request, response) => response.json({ user: request.session.user }));
  app.post("/regenerate", needsUser, async (request, response) => {
    const { user, data } = request.session;
    await promised(request.session, "regenerate");
    Object.assign(request.session, { user, data });
    response.json({ user });
  });
  app.post("/logout", async (request, response) => {
    await promised(request.session, "destroy");
    response.clearCookie("connect.sid").json({ user: null });
  });

  // What an administrator's page uses: the store's own listing, which walks the keys with SCAN.
  app.get("/store", async (_request, response) => {
    const [length, ids, all] = await Promise.all(["length", "ids", "all"].map((method) => promised(store, method)));
    response.json({ length, ids, users: all.map((one) => one.user) });
  });
  app.post("/store/clear", async (_request, response) => {
    await promised(store, "clear");
    response.json({});
  });

  app.listen(Number(process.env.PORT), "127.0.0.1");
}
