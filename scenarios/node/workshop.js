// A workshop over HTTP: what Node can do, each by a path of its own, without a package. SIGHUP opens the log anew.
//
// GET /health, POST and GET /notes, PUT and GET /files/NAME, POST /files/NAME/pack, GET /events (of the folder of
// files), GET /compute/N, /thread/N, /wasm/N, /child/WORD, /secret/WORD, /words/LOCALE, /names/HOST, /machine.

"use strict";

const childProcess = require("node:child_process");
const crypto = require("node:crypto");
const dns = require("node:dns");
const fs = require("node:fs");
const http = require("node:http");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");
const { pipeline } = require("node:stream/promises");
const { promisify } = require("node:util");
const { Worker, isMainThread, workerData } = require("node:worker_threads");
const zlib = require("node:zlib");

const PORT = 8770;
const STATE = process.env.STATE_DIRECTORY || ".";
const FILES = path.join(STATE, "files");
const NOTES = path.join(STATE, "notes.jsonl");
const LOG = path.join(process.env.LOGS_DIRECTORY || ".", "workshop.log");
const CHILD_TIMEOUT_MS = 5000;

// (module (func (export "sum") (param i32) (result i32) …)): 1 + 2 + … + n in a loop.
const SUM = Uint8Array.from([
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x06, 0x01, 0x60, 0x01, 0x7f, 0x01, 0x7f, 0x03, 0x02, 0x01,
    0x00, 0x07, 0x07, 0x01, 0x03, 0x73, 0x75, 0x6d, 0x00, 0x00, 0x0a, 0x1b, 0x01, 0x19, 0x01, 0x01, 0x7f, 0x03, 0x40,
    0x20, 0x01, 0x20, 0x00, 0x6a, 0x21, 0x01, 0x20, 0x00, 0x41, 0x01, 0x6b, 0x22, 0x00, 0x0d, 0x00, 0x0b, 0x20, 0x01,
    0x0b,
]);

// The same function in one thread, in another one, and after the compiler has made it fast: the sum of i² mod 7.
function compute(rounds) {
    let sum = 0;
    for (let i = 0; i < rounds; i++) sum += (i * i) % 7;
    return sum;
}

if (isMainThread) {
    main();
} else {
    const { rounds, shared } = workerData;
    Atomics.add(new BigInt64Array(shared), 0, BigInt(compute(rounds)));
}

function main() {
    let log = fs.openSync(LOG, "a");
    const events = new Set();
    const notes = fs.existsSync(NOTES)
        ? fs.readFileSync(NOTES, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line))
        : [];
    const say = (line) => fs.writeSync(log, `${new Date().toISOString()} ${line}\n`);
    fs.mkdirSync(FILES, { recursive: true });
    fs.watch(FILES, (event, name) => events.add(`${event} ${name}`));

    const routes = [
        ["GET", /^\/health$/, () => ({ notes: notes.length })],
        ["POST", /^\/notes$/, async (request) => addNote(notes, await bodyOf(request))],
        ["GET", /^\/notes$/, () => notes],
        ["PUT", /^\/files\/([\w.-]+)$/, storeFile],
        ["GET", /^\/files\/([\w.-]+)$/, (request, name) => fs.promises.readFile(path.join(FILES, name))],
        ["POST", /^\/files\/([\w.-]+)\/pack$/, (request, name) => pack(name)],
        ["GET", /^\/events$/, () => [...events].sort()],
        ["GET", /^\/compute\/(\d+)$/, (request, rounds) => ({ sum: compute(Number(rounds)) })],
        ["GET", /^\/thread\/(\d+)$/, (request, rounds) => inThreads(Number(rounds))],
        ["GET", /^\/wasm\/(\d+)$/, (request, rounds) => inWebAssembly(Number(rounds))],
        ["GET", /^\/child\/(\w+)$/, (request, word) => inChild(word)],
        ["GET", /^\/secret\/(\w+)$/, (request, word) => secret(word)],
        ["GET", /^\/words\/([\w-]+)$/, (request, locale) => words(locale)],
        ["GET", /^\/names\/([\w.-]+)$/, (request, host) => names(host)],
        ["GET", /^\/machine$/, machine],
    ];

    const server = http.createServer(async (request, response) => {
        let status = 200;
        let content;
        try {
            const route = routes.find(([method, pattern]) => method === request.method && pattern.test(request.url));
            if (!route) throw Object.assign(new Error("no such path"), { code: "ENOENT" });
            content = await route[2](request, ...route[1].exec(request.url).slice(1));
        } catch (error) {
            status = error.code === "ENOENT" && !error.spawnargs ? 404 : 500;
            content = { error: `${error.code || error.name}: ${error.message}` };
        }
        if (request.url !== "/health") say(`${request.method} ${request.url} ${status} ${content.error || ""}`);
        const body = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content));
        response.writeHead(status, { "Content-Length": body.length });
        response.end(body);
    });
    server.listen(PORT, "127.0.0.1", () => say("started"));

    process.on("SIGHUP", () => {
        const old = log;
        log = fs.openSync(LOG, "a");
        fs.closeSync(old);
        say("log opened anew");
    });
    process.on("SIGTERM", () => {
        say("ended");
        process.exit(0);
    });
}

async function bodyOf(request) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    return Buffer.concat(chunks).toString("utf8");
}

async function addNote(notes, text) {
    const note = { id: notes.length + 1, text };
    notes.push(note);
    await fs.promises.appendFile(NOTES, `${JSON.stringify(note)}\n`);
    return note;
}

async function storeFile(request, name) {
    const part = path.join(FILES, `${name}.part`);
    await pipeline(request, fs.createWriteStream(part, { mode: 0o640 }));
    await fs.promises.rename(part, path.join(FILES, name));
    return { bytes: (await fs.promises.stat(path.join(FILES, name))).size };
}

async function pack(name) {
    const source = path.join(FILES, name);
    await pipeline(fs.createReadStream(source), zlib.createGzip({ level: 1 }), fs.createWriteStream(`${source}.gz`));
    const brotli = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } };
    const packed = await promisify(zlib.brotliCompress)(await fs.promises.readFile(source), brotli);
    const plain = await promisify(zlib.brotliDecompress)(packed);
    return { brotli: packed.length, sha256: crypto.createHash("sha256").update(plain).digest("hex") };
}

// Two threads add to one number in shared memory.
async function inThreads(rounds) {
    const shared = new SharedArrayBuffer(8);
    const ended = (worker) =>
        new Promise((resolve, reject) => {
            worker.on("error", reject);
            worker.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`a thread ended with ${code}`))));
        });
    await Promise.all([1, 2].map(() => ended(new Worker(__filename, { workerData: { rounds, shared } }))));
    return { sum: Number(Atomics.load(new BigInt64Array(shared), 0)) };
}

async function inWebAssembly(rounds) {
    const { instance } = await WebAssembly.instantiate(SUM);
    return { sum: instance.exports.sum(rounds) };
}

// A shell by way of a pipe, and another Node at lower priority that is talked to by messages.
async function inChild(word) {
    const shell = await promisify(childProcess.execFile)("/bin/sh", ["-c", 'echo "$1" | tr a-z A-Z', "sh", word], {
        timeout: CHILD_TIMEOUT_MS,
    });
    const program = 'process.on("message", (word) => process.send([...word].reverse().join(""), () => process.exit()))';
    const child = childProcess.spawn(process.execPath, ["-e", program], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    const answer = await new Promise((resolve, reject) => {
        child.on("error", reject);
        child.on("message", resolve);
        child.on("exit", (code, signal) => reject(new Error(`the child ended with ${code ?? signal}`)));
        os.setPriority(child.pid, 10);
        child.send(word);
    });
    return { shell: shell.stdout.trim(), node: answer, priority: os.getPriority(process.pid) };
}

async function secret(word) {
    const salt = crypto.randomBytes(16);
    const key = await promisify(crypto.scrypt)(word, salt, 32);
    const nonce = crypto.randomBytes(12);
    const cipher = crypto.createCipheriv("aes-256-gcm", key, nonce);
    const hidden = Buffer.concat([cipher.update(word, "utf8"), cipher.final()]);
    const decipher = crypto.createDecipheriv("aes-256-gcm", key, nonce).setAuthTag(cipher.getAuthTag());
    const shown = Buffer.concat([decipher.update(hidden), decipher.final()]).toString("utf8");
    const pair = await promisify(crypto.generateKeyPair)("ec", { namedCurve: "prime256v1" });
    const signature = crypto.sign("sha256", hidden, pair.privateKey);
    const salted = await promisify(crypto.pbkdf2)(word, "salt", 1000, 32, "sha256");
    return { shown, signed: crypto.verify("sha256", hidden, pair.publicKey, signature), pbkdf2: salted.toString("hex") };
}

function words(locale) {
    const day = new Date(Date.UTC(2024, 6, 1, 22, 30));
    const style = { weekday: "long", month: "long", day: "numeric", hour: "numeric", timeZone: "Europe/Berlin" };
    return {
        number: new Intl.NumberFormat(locale).format(1234567.5),
        day: new Intl.DateTimeFormat(locale, style).format(day),
        order: ["z", "ä", "a"].sort(new Intl.Collator(locale).compare).join(""),
    };
}

async function names(host) {
    const found = await dns.promises.lookup(host, { all: true });
    const peer = await new Promise((resolve, reject) => {
        const socket = net.connect({ host, port: PORT }, () => {
            resolve(socket.remoteAddress);
            socket.destroy();
        });
        socket.on("error", reject);
    });
    return { addresses: found.map((item) => item.address), peer };
}

function machine() {
    return {
        rss: process.memoryUsage().rss,
        total: os.totalmem(),
        cpus: os.cpus().length,
        load: os.loadavg().length,
        uptime: Math.round(os.uptime()),
        links: Object.keys(os.networkInterfaces()).sort(),
        user: os.userInfo().username,
    };
}
