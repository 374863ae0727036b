// A pipe of the MPMC queue: one block through which a message goes that is larger than it. Names and numbers of steps as in
// packages/ring/src/mpmc: layout.ts, pipe-sender.ts, pipe-receiver.ts, pipe-lease.ts, queue-side.ts, sweep.ts.
//
// One sender, receivers, and a peer that sweeps the dead and looks for orphans. Each access to shared memory is a step of its
// own, and after each step its peer may be killed. Of the bytes, two things are left: whether the receiver has read any, and
// whether all are published, which takes a receiver that reads. Writing the header, and raising the hint after P3, are one step
// each; they are the only ones of their kind, since there is one block. Wake-ups are writes into the block, and nothing more:
// peers here look again instead of sleeping.
#include <functional>
#include <map>
#include "command.hpp"

namespace models {

constexpr int PEERS_MAX = 5, POSITIONS_MAX = 8, SENDER_SLOT = 0;
// No call of these sizes takes as many steps alone.
constexpr int STEPS_MAX = 100;
constexpr int8_t AWAY = -1;

enum Hold : Byte { FREE, OWNED, HELD, RETURNING, ORPHAN };
enum Mark : Byte { GONE = 1, ABORTED = 2, DONE = 4, LEFT = 8 };
enum Life : Byte { LIVE, DEAD, VACANT };

// Which steps are broken.
enum Mutant {
  NOTHING,
  ANY_PEER_ADOPTS,
  SENDER_DOES_NOT_LOOK,
  RECEIVER_DOES_NOT_LOOK_AGAIN,
  ADOPTER_KEEPS_POSITION,
  SENDER_KEEPS_POSITION,
  WAKES_AFTER_LEAVING,
  ABORTED_AFTER_GONE,
  MARKS_BEFORE_CELL,
  BYTES_BEFORE_MARKS,
  TAKES_BACK_WITHOUT_REWIND,
  RETURNING_KEEPS_SEQ,
  ORPHAN_KEEPS_SEQ,
  REAP_ASKS_LIFE_FIRST,
  SENT_ALTHOUGH_LEFT,
  MUTANTS,
};

const char* const mutantNames[MUTANTS] = {
    "nothing",
    "any peer adopts the orphan of a sender at work",
    "Z3 left out",
    "Y3 does not look at the lease again",
    "T6 left out by the last one that leaves",
    "R2 left out by the sender",
    "a receiver wakes the sender after Y3",
    "a sender aborts after it is GONE",
    "a sender loads the marks before the cell",
    "a receiver looks for bytes before it loads the marks",
    "a sender that takes the block back keeps the marks",
    "R3 keeps seq",
    "Y3 and S4 keep seq",
    "a sender loads the cell again after it asked who lives",
    "Z2 sends what the receiver has given up",
};

struct Size {
  int messages = 1, receivers = 2, kills = 0, restarts = 0, atLeastOnce = 0, maxDeliveries = 2;
  // How often a side gives a message up.
  int aborts = 1, skips = 1;
};

struct Cell {
  Hold hold = FREE;
  Byte slot = 0, seq = 0;
  bool operator==(const Cell& other) const { return hold == other.hold && slot == other.slot && seq == other.seq; }
};

enum Step : Byte {
  IDLE,
  // sender
  A2, A3, P2, P3, LOOK_CELL, LOOK_LEASE, PUBLISH, REAP_CELL, REAP_LIFE, REAP_CAS,
  R1, R2, REWIND, R3, RETURN_P2, RETURN_P3, FREE_AWAY, FREE_CAS, Z1, Z1_WAKE, Z2, Z1_LATE,
  // receiver
  T2, T3, T4, BEGIN, READ, MARKS, BYTES, Y1, Y1_WAKE, Y2_AWAY, Y2_CAS, Y3, Y1_LATE,
  // both, and the looker
  ADOPT_CELL, ADOPT_LEASE, ADOPT_LIFE, ADOPT_R1, ADOPT_AWAY, ADOPT_FREE,
  // looker
  S1, S2, S3, SWEPT,
};

const char* const stepNames[] = {
    "IDLE", "A2", "A3", "P2", "P3", "cell?", "lease?", "publishes", "reap: cell", "reap: life", "reap: S4",
    "R1", "R2", "rewinds", "R3", "P2 again", "P3 again", "T6", "T7", "Z1", "Z1 wakes", "Z2", "Z1 late",
    "T2", "T3", "T4", "begins", "reads", "marks?", "bytes?", "Y1", "Y1 wakes", "Y2 T6", "Y2 T7", "Y3", "wakes late",
    "adopt: cell", "adopt: lease", "adopt: life", "adopt: R1", "adopt: T6", "adopt: T7",
    "S1", "S2", "S3/S4", "swept",
};

struct Peer {
  Life life = LIVE;
  Step step = IDLE;
  Byte generation = 1;
  // The sender: messages that it still has to send; which one is under way.
  Byte left = 0, message = 0, isAborted = 0, isOrphan = 0, isOpen = 0;
  // The receiver: the first position that it has not passed.
  int8_t position = 0;
  Byte mark = 0, before = 0, isOver = 0, isWhole = 0;
  // The cell that it has loaded, or has; whose slot is being swept.
  Cell cell;
  Byte target = 0;
};

struct State {
  Cell cell;
  int8_t position = AWAY;
  Byte lease = 0, sender = 0, deliveries = 0, hasRead = 0, isWhole = 0;
  // The slots: 1 for pushed.
  Byte slots[POSITIONS_MAX] = {}, tail = 0;
  // The peers table: the generation that each slot shows; 0 for none.
  Byte table[PEERS_MAX] = {};
  Peer peers[PEERS_MAX];
  // What only the model knows.
  Byte kills = 0, restarts = 0, aborts = 0, skips = 0, message = 0;
  Byte sent = 0, acknowledged = 0, left = 0;  // a bit for each message
};

class Pipe {
 public:
  using State = models::State;
  std::string violation;

  Pipe(Size size, Mutant mutant) : size(size), mutant(mutant), looker(size.receivers + 1), peers(size.receivers + 2) {}

  State initial() {
    State s;
    for (int i = 0; i < peers; i++) s.table[i] = 1;
    s.peers[SENDER_SLOT].left = Byte(size.messages);
    return s;
  }

  template <class Visit>
  void visit(State& s, Visit each) {
    each(s.cell), each(s.position), each(s.lease), each(s.sender), each(s.deliveries), each(s.hasRead), each(s.isWhole);
    each(s.slots), each(s.tail), each(s.kills), each(s.restarts), each(s.aborts), each(s.skips), each(s.message), each(s.sent), each(s.acknowledged), each(s.left);
    for (int i = 0; i < peers; i++) each(s.table[i]), each(s.peers[i]);
  }

  size_t packedBytes() {
    State s = initial();
    size_t bytes = 0;
    visit(s, [&](auto& field) { bytes += sizeof field; });
    return bytes;
  }

  void pack(const State& state, Byte* bytes) {
    visit(const_cast<State&>(state), [&](auto& field) { memcpy(bytes, &field, sizeof field), bytes += sizeof field; });
  }

  void unpack(const Byte* bytes, State& s) {
    visit(s, [&](auto& field) { memcpy((void*)&field, bytes, sizeof field), bytes += sizeof field; });
  }

  // --- The actions: 0 is what a peer does by itself, 1 gives the message up, 2 looks although there is nothing to be found.

  template <class Take>
  void actions(const State& state, Take take) {
    for (int i = 0; i < peers; i++) {
      const Peer& q = state.peers[i];
      if (q.life == VACANT && state.restarts < size.restarts) {
        State next = state;
        restart(next, i);
        take(actionOf(i, RESTART), next);
      }
      if (q.life != LIVE) continue;
      for (int choice = 0; choice < 3; choice++) {
        if (choice == 1 && !mayGiveUp(state, i)) continue;
        if (choice == 2 && q.step != LOOK_CELL && q.step != MARKS) continue;
        State next = state;
        looksInVain = choice == 2;
        const bool hasMoved = step(next, i, choice == 1);
        looksInVain = false;
        if (!hasMoved && violation.empty()) continue;
        take(actionOf(i, choice), next);
        if (!violation.empty()) return;
      }
      // Killed between calls it leaves nothing. The looker is here for all that would come after it.
      if (q.step != IDLE && i != looker && state.kills < size.kills) {
        State next = state;
        next.kills++;
        const Byte generation = q.generation;
        next.peers[i] = Peer();
        next.peers[i].life = DEAD;
        next.peers[i].generation = generation;
        take(actionOf(i, KILL), next);
      }
    }
  }

  bool mayGiveUp(const State& s, int i) const {
    const Step at = s.peers[i].step;
    if (i == SENDER_SLOT) return at == LOOK_CELL && s.aborts < size.aborts;
    return at == MARKS && i != looker && s.skips < size.skips;
  }

  // Nothing is left to do, unless a peer gives up. Then everything has to be as the pipe promises.
  bool checkRest(const State& s) {
    bool hasReceiver = false;
    for (int i = 0; i < peers; i++) {
      const Peer& q = s.peers[i];
      if (q.life == DEAD) return false;
      if (q.life == LIVE && i != SENDER_SLOT && i != looker && q.step == IDLE) hasReceiver = true;
      State next = s;
      if (q.life == LIVE && step(next, i, false)) return false;
    }
    if (!hasReceiver) return true;
    const Peer& sender = s.peers[SENDER_SLOT];
    if (sender.life == LIVE && sender.step != IDLE) fail("at rest, and the sender waits");
    if (sender.life == LIVE && sender.left > 0) fail("at rest, and the sender finds no free block");
    for (int i = 1; i < looker; i++) {
      if (s.peers[i].life == LIVE && s.peers[i].step != IDLE) fail("at rest, and a receiver waits");
    }
    if (s.cell.hold != FREE) fail("at rest, and the block is not free");
    return true;
  }

  // From each state, each peer that gives up finishes alone, wherever the others are stopped.
  template <class OnRun>
  void solo(const State& state, OnRun onRun) {
    for (int i = 0; i < peers; i++) {
      if (state.peers[i].life != LIVE || state.peers[i].step == IDLE) continue;
      State s = state;
      int steps = 0;
      while (s.peers[i].step != IDLE && steps < STEPS_MAX) {
        const Step at = s.peers[i].step;
        const bool givesUp = (i == SENDER_SLOT && at == LOOK_CELL) || (i != looker && at == MARKS);
        if (!step(s, i, givesUp)) break;
        steps++;
      }
      if (steps == STEPS_MAX || s.peers[i].step != IDLE) fail("a call does not end, though its peer runs alone and gives up");
      if (!violation.empty()) return;
      onRun(steps);
    }
  }

  std::string describe(Byte action, const State& s) {
    const int i = peerOf(action), kind = kindOf(action);
    const char* role = i == SENDER_SLOT ? "sender" : i == looker ? "looker" : "receiver";
    const char* what = kind == KILL ? "is killed" : kind == RESTART ? "attaches" : kind == 1 ? "gives up" : kind == 2 ? "in vain" : "";
    char text[200];
    static const char holds[] = "FOHRX";
    snprintf(text, sizeof text, "%-8s %d %-9s -> %-12s | block %c%d.%d at %d lease %d%s%s | tail %d sent %d acknowledged %d", role, i, what,
             stepNames[s.peers[i].step], holds[s.cell.hold], s.cell.slot, s.cell.seq, s.position, s.lease, s.hasRead ? " read" : "",
             s.isWhole ? " whole" : "", s.tail, s.sent, s.acknowledged);
    return text;
  }

 private:
  const Size size;
  const Mutant mutant;
  const int looker, peers;
  bool looksInVain = false;

  void fail(const char* what) { if (violation.empty()) violation = what; }

  void restart(State& s, int i) {
    s.restarts++;
    const Byte generation = Byte(s.peers[i].generation + 1);
    s.peers[i] = Peer();
    s.peers[i].generation = s.table[i] = generation;
    if (i == SENDER_SLOT) s.peers[i].left = 1, s.peers[i].message = Byte(size.messages);
  }

  static void finish(Peer& q) {
    q.step = IDLE;
    q.cell = Cell();
    q.isAborted = q.isOrphan = q.isOpen = q.mark = q.before = q.isOver = q.isWhole = q.target = 0;
  }

  bool cas(State& s, Peer& q, Cell next) {
    if (!(s.cell == q.cell)) return false;
    s.cell = q.cell = next;
    return true;
  }

  // I4: only the peer that the cell names writes the block. The sender of a pipe also does as long as it is not GONE.
  void assertHas(const State& s, int i) {
    if (!(s.cell == s.peers[i].cell) || s.cell.slot != i) fail("a peer writes into a block that is not its own");
  }

  void assertIsSender(const State& s) {
    const Peer& q = s.peers[SENDER_SLOT];
    const bool isOrphan = s.cell.hold == ORPHAN && s.cell.seq == orphanOf(q.cell).seq;
    if (!isOrphan && (s.cell.hold == FREE || s.cell.seq != q.cell.seq)) fail("the block of a sender that is not GONE was freed");
  }

  bool isPushed(const State& s) const { return s.position >= 0 && s.slots[s.position]; }

  Cell orphanOf(Cell cell) const { return {ORPHAN, 0, Byte(cell.seq + (mutant == ORPHAN_KEEPS_SEQ ? 0 : 1))}; }
  static Cell freeOf(Cell cell) { return {FREE, 0, cell.seq}; }
  static Byte bitOf(int message) { return Byte(1 << message); }

  bool isDead(const State& s, int slot, int generation) const {
    return s.peers[slot].generation != generation || s.peers[slot].life != LIVE;
  }

  bool step(State& s, int i, bool givesUp) {
    Peer& q = s.peers[i];
    if (q.step >= ADOPT_CELL && q.step <= ADOPT_FREE) return stepAdopt(s, i);
    if (i == SENDER_SLOT) return stepSend(s, q, givesUp);
    return i == looker ? stepLook(s, q) : stepReceive(s, i, givesUp);
  }

  // --- pipe-sender.ts. `cell` is the word that the sender pushed: the one of its orphan follows from it.

  bool stepSend(State& s, Peer& q, bool givesUp) {
    const int i = SENDER_SLOT;
    switch (q.step) {
      case IDLE:
        if (q.left == 0 || s.cell.hold != FREE) return false;
        q.cell = s.cell;
        q.step = A2;
        return true;
      case A2:
        if (cas(s, q, {OWNED, i, Byte(q.cell.seq + 1)})) q.step = A3;
        else finish(q);
        return true;
      case A3:
        assertHas(s, i);
        rewind(s, q);
        s.message = q.message;
        s.deliveries = 0;
        q.step = P2;
        return true;
      case P2: case RETURN_P2:
        assertHas(s, i);
        s.position = int8_t(s.tail);
        q.step = q.step == P2 ? P3 : RETURN_P3;
        return true;
      case P3: case RETURN_P3:
        if (s.tail >= POSITIONS_MAX) fail("the model is too small");
        if (!violation.empty()) return true;
        if (s.position != int8_t(s.tail)) fail("a block is pushed at another position than it has");
        s.slots[s.tail++] = 1;
        q.step = LOOK_CELL;
        return true;
      case LOOK_CELL:
        if (givesUp) {
          s.aborts++;
          q.isAborted = 1;
          q.step = mutant == ABORTED_AFTER_GONE ? Z2 : Z1;
          return true;
        }
        if (!looksInVain && !hasNews(s, q)) return false;
        q.isOrphan = s.cell == orphanOf(q.cell);
        if (mutant == MARKS_BEFORE_CELL) q.before = s.lease, q.isOrphan = 0;
        q.step = LOOK_LEASE;
        return true;
      case LOOK_LEASE: {
        const Byte lease = mutant == MARKS_BEFORE_CELL ? q.before : s.lease;
        if (mutant == MARKS_BEFORE_CELL) q.isOrphan = s.cell == orphanOf(q.cell);
        const bool isOrphan = q.isOrphan;
        q.isOrphan = q.before = 0;
        if (lease & DONE) q.step = Z2;
        else if ((lease & LEFT) && !size.atLeastOnce) q.isAborted = 1, q.step = Z1;
        else if (isOrphan) q.step = R1;
        else if (lease & LEFT) q.step = REAP_CELL;
        else q.step = s.hasRead && !s.isWhole ? PUBLISH : REAP_CELL;
        return true;
      }
      case PUBLISH:
        assertIsSender(s);
        s.isWhole = 1;
        q.step = size.atLeastOnce ? LOOK_CELL : Z2;
        return true;
      case REAP_CELL: case REAP_LIFE: case REAP_CAS: return stepReap(s, q);
      case R1:
        if (!(s.cell == orphanOf(q.cell))) {
          fail("another peer has taken the orphan of a sender at work");
          return true;
        }
        if (s.acknowledged & bitOf(s.message)) fail("a sender takes back what was acknowledged");
        q.cell = s.cell;
        cas(s, q, {HELD, i, Byte(q.cell.seq + 1)});
        q.step = R2;
        return true;
      case R2:
        assertHas(s, i);
        if (mutant != SENDER_KEEPS_POSITION) s.position = AWAY;
        q.step = !size.atLeastOnce || s.deliveries >= size.maxDeliveries ? FREE_AWAY : REWIND;
        return true;
      case REWIND:
        assertHas(s, i);
        rewind(s, q);
        q.step = R3;
        return true;
      case R3:
        if (!cas(s, q, {RETURNING, i, Byte(q.cell.seq + (mutant == RETURNING_KEEPS_SEQ ? 0 : 1))})) fail("a block was taken from its holder");
        q.step = RETURN_P2;
        return true;
      case FREE_AWAY:
        assertHas(s, i);
        s.position = AWAY;
        q.step = FREE_CAS;
        return true;
      case FREE_CAS:
        if (!cas(s, q, freeOf(q.cell))) fail("a block was taken from its holder");
        next(q);
        return true;
      case Z1:
        assertIsSender(s);
        s.lease |= ABORTED;
        q.step = Z1_WAKE;
        return true;
      case Z1_WAKE:
        assertIsSender(s);
        q.step = Z2;
        return true;
      case Z2:
        assertIsSender(s);
        if (!q.isAborted && (!(s.lease & LEFT) || (s.lease & DONE) || mutant == SENT_ALTHOUGH_LEFT)) noteSent(s, q);
        s.lease |= GONE;
        if (mutant == ABORTED_AFTER_GONE && q.isAborted) q.step = Z1_LATE;
        else leaveSender(q);
        return true;
      case Z1_LATE:
        assertIsSender(s);
        s.lease |= ABORTED;
        leaveSender(q);
        return true;
      default: return false;
    }
  }

  void leaveSender(Peer& q) {
    next(q);
    if (mutant != SENDER_DOES_NOT_LOOK) q.step = ADOPT_CELL;
  }

  void next(Peer& q) {
    finish(q);
    q.left--;
    q.message++;
  }

  void noteSent(State& s, const Peer& q) {
    if (size.atLeastOnce && !(s.acknowledged & bitOf(q.message))) fail("a message was sent that was not acknowledged");
    if (!size.atLeastOnce && (s.left & bitOf(q.message))) fail("a message was sent that its receiver had given up");
    s.sent |= bitOf(q.message);
  }

  // Whether a waiting sender would find something: otherwise looking changes nothing, and is no step.
  bool hasNews(const State& s, const Peer& q) const {
    if (s.cell == orphanOf(q.cell) || (s.lease & DONE)) return true;
    if (s.lease & LEFT) return !size.atLeastOnce || canReap(s);
    return (s.hasRead && !s.isWhole) || canReap(s);
  }

  bool canReap(const State& s) const { return s.cell.hold == HELD && s.cell.slot != SENDER_SLOT && s.peers[s.cell.slot].life != LIVE; }

  void rewind(State& s, const Peer& q) {
    s.sender = q.generation;
    s.hasRead = s.isWhole = 0;
    if (q.step == A3 || mutant != TAKES_BACK_WITHOUT_REWIND) s.lease = 0;
  }

  // S4 by the sender, for this one block. `target` is the generation of the holder, as it was asked; the cell is kept in `before`.
  bool stepReap(State& s, Peer& q) {
    switch (q.step) {
      case REAP_CELL:
        if (s.cell.hold != HELD || s.cell.slot == SENDER_SLOT) {
          q.step = LOOK_CELL;
          return true;
        }
        q.before = s.cell.slot;
        q.step = REAP_LIFE;
        return true;
      case REAP_LIFE:
        q.target = s.table[q.before] == 0 || isDead(s, q.before, s.table[q.before]);
        q.step = q.target ? REAP_CAS : LOOK_CELL;
        if (!q.target) q.before = 0;
        return true;
      default: {
        // The word that was loaded: a later holder has another one. The instance has its seq from the sender's own push.
        const Cell loaded = {HELD, q.before, q.cell.seq};
        const bool isSame = mutant == REAP_ASKS_LIFE_FIRST ? s.cell.hold == HELD : s.cell == loaded;
        if (isSame) {
          if (s.peers[s.cell.slot].life == LIVE) fail("a block was taken from a live peer");
          s.cell = orphanOf(s.cell);
        }
        q.before = q.target = 0;
        q.step = LOOK_CELL;
        return true;
      }
    }
  }

  // --- Slots.take, pipe-receiver.ts

  bool stepReceive(State& s, int i, bool givesUp) {
    Peer& q = s.peers[i];
    switch (q.step) {
      case IDLE:
        if (q.position >= int8_t(s.tail)) return false;
        q.step = T2;
        return true;
      case T2:
        if (s.cell.hold != OWNED && s.cell.hold != RETURNING) return pass(q);
        q.cell = s.cell;
        q.step = T3;
        return true;
      case T3:
        if (s.position != q.position) return pass(q);
        q.step = T4;
        return true;
      case T4:
        if (!(s.cell == q.cell)) return pass(q);
        if (!isPushed(s)) fail("a block was taken that was not pushed");
        cas(s, q, {HELD, Byte(i), q.cell.seq});
        if (s.acknowledged & bitOf(s.message)) fail("a message came again that was acknowledged");
        s.deliveries++;
        q.position++;
        q.step = BEGIN;
        return true;
      case BEGIN:
        assertHas(s, i);
        // It wakes the sender, or passes the message over silently.
        q.step = isSenderOver(s) ? Y1 : READ;
        if (q.step == Y1) q.mark = LEFT;
        return true;
      case READ:
        assertHas(s, i);
        s.hasRead = 1;
        q.step = MARKS;
        return true;
      case MARKS:
        assertHas(s, i);
        if (givesUp) {
          s.skips++;
          q.mark = LEFT;
          q.step = Y1;
          return true;
        }
        if (!looksInVain && !s.isWhole && !isSenderOver(s)) return false;
        if (mutant == BYTES_BEFORE_MARKS) q.isWhole = s.isWhole;
        else q.isOver = isSenderOver(s);
        q.step = BYTES;
        return true;
      case BYTES: {
        assertHas(s, i);
        if (mutant == BYTES_BEFORE_MARKS) q.isOver = isSenderOver(s);
        else q.isWhole = s.isWhole;
        const bool isOver = q.isOver, isWhole = q.isWhole;
        q.isOver = q.isWhole = 0;
        if (!isWhole && isOver && (s.sent & bitOf(s.message))) fail("a message breaks off that was sent");
        q.step = isWhole || isOver ? Y1 : MARKS;
        q.mark = isWhole ? DONE : isOver ? LEFT : 0;
        return true;
      }
      case Y1:
        assertHas(s, i);
        q.before = s.lease;
        s.lease |= q.mark;
        // Also a receiver that finds it aborted: then it is not sent.
        if (q.mark == LEFT && !(q.before & GONE)) s.left |= bitOf(s.message);
        if (q.mark == DONE) s.acknowledged |= bitOf(s.message);
        q.step = Y1_WAKE;
        if (mutant == WAKES_AFTER_LEAVING) q.step = q.before & GONE ? Y2_AWAY : Y3;
        return true;
      case Y1_WAKE:
        assertHas(s, i);
        q.step = q.before & GONE ? Y2_AWAY : Y3;
        return true;
      case Y2_AWAY:
        assertHas(s, i);
        if (mutant != ADOPTER_KEEPS_POSITION) s.position = AWAY;
        q.step = Y2_CAS;
        return true;
      case Y2_CAS:
        if (!cas(s, q, freeOf(q.cell))) fail("a block was taken from its holder");
        finish(q);
        return true;
      case Y3: {
        const Cell own = q.cell;
        if (!cas(s, q, orphanOf(q.cell))) fail("a block was taken from its holder");
        finish(q);
        if (mutant == WAKES_AFTER_LEAVING) q.cell = own, q.step = Y1_LATE;
        else if (mutant != RECEIVER_DOES_NOT_LOOK_AGAIN) q.step = ADOPT_CELL;
        return true;
      }
      case Y1_LATE:
        assertHas(s, i);
        finish(q);
        q.step = ADOPT_CELL;
        return true;
      default: return false;
    }
  }

  bool pass(Peer& q) {
    finish(q);
    q.position++;
    return true;
  }

  // The peers table, and the system: both are asked.
  bool isSenderOver(const State& s) const {
    return (s.lease & (GONE | ABORTED)) || isDead(s, SENDER_SLOT, s.sender);
  }

  // --- QueueSide.#adopt, pipe-lease.ts

  bool stepAdopt(State& s, int i) {
    Peer& q = s.peers[i];
    switch (q.step) {
      case ADOPT_CELL:
        if (s.cell.hold != ORPHAN) return endAdopt(q);
        q.cell = s.cell;
        q.step = mutant == ANY_PEER_ADOPTS ? ADOPT_R1 : ADOPT_LEASE;
        return true;
      case ADOPT_LEASE:
        q.step = s.lease & GONE ? ADOPT_R1 : ADOPT_LIFE;
        return true;
      case ADOPT_LIFE: {
        // Only the looker asks the system.
        const bool isAtWork = s.table[SENDER_SLOT] == s.sender && !(i == looker && isDead(s, SENDER_SLOT, s.sender));
        if (isAtWork) return endAdopt(q);
        q.step = ADOPT_R1;
        return true;
      }
      case ADOPT_R1:
        if (!cas(s, q, {HELD, Byte(i), Byte(q.cell.seq + 1)})) return endAdopt(q);
        q.step = ADOPT_AWAY;
        return true;
      case ADOPT_AWAY:
        assertHas(s, i);
        if (mutant != ADOPTER_KEEPS_POSITION) s.position = AWAY;
        q.step = ADOPT_FREE;
        return true;
      default:
        if (!cas(s, q, freeOf(q.cell))) fail("a block was taken from its holder");
        return endAdopt(q);
    }
  }

  static bool endAdopt(Peer& q) {
    finish(q);
    return true;
  }

  // --- sweep.ts, and looks now and then once a peer has died

  bool stepLook(State& s, Peer& q) {
    switch (q.step) {
      case IDLE:
        for (int d = 0; d < looker; d++) {
          if (s.peers[d].life != DEAD) continue;
          q.target = Byte(d);
          q.step = S1;
          return true;
        }
        if (s.kills == 0 || s.cell.hold != ORPHAN) return false;
        if (!(s.lease & GONE) && !isDead(s, SENDER_SLOT, s.sender)) return false;
        q.step = ADOPT_CELL;
        return true;
      case S1:
        q.cell = s.cell;
        q.step = s.cell.hold == FREE || s.cell.hold == ORPHAN || s.cell.slot != q.target ? SWEPT : s.cell.hold == HELD ? S3 : S2;
        return true;
      case S2:
        q.step = isPushed(s) ? SWEPT : S3;
        return true;
      case S3:
        if (s.cell == q.cell) s.cell = q.cell.hold == OWNED ? freeOf(q.cell) : orphanOf(q.cell);
        q.step = SWEPT;
        return true;
      case SWEPT:
        s.table[q.target] = 0;
        s.peers[q.target].life = VACANT;
        finish(q);
        return true;
      default: return false;
    }
  }
};

// --- The command: pipe [--mutant NAME] [--states N] [--solo] name=value …

int run(int count, char** words) {
  Size size;
  const Assign toNumber = toNumbers({
      {"messages", &size.messages}, {"receivers", &size.receivers}, {"kills", &size.kills}, {"restarts", &size.restarts},
      {"atLeastOnce", &size.atLeastOnce}, {"maxDeliveries", &size.maxDeliveries}, {"aborts", &size.aborts}, {"skips", &size.skips}});
  Command command;
  const int code = readCommand(count, words, mutantNames, MUTANTS, toNumber, command);
  if (code >= 0) return code;
  Pipe model(size, Mutant(command.mutant));
  return exploreModel(model, command);
}

}  // namespace models

int main(int count, char** words) { return models::run(count, words); }
