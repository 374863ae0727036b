// The MPMC queue of packages/ring/src/mpmc: names and numbers of steps as there (layout.ts, slots.ts, queue-side.ts, sweep.ts).
//
// Each access to shared memory is a step of its own, and after each step its peer may be killed. What is merged into one step:
// raising a hint, which is a bound and nothing more; a plain store whose value was just loaded from a hint; and the private
// parts of a call. Wake-ups are left out: peers here look again instead of sleeping.
#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include "command.hpp"

namespace models {

constexpr int PEERS_MAX = 7, BLOCKS_MAX = 3, SLOTS_MAX = 8, LANES_MAX = 3, MESSAGES_MAX = 8, POSITIONS_MAX = 12;
constexpr int PARTS_MAX = 2;
// No call of these sizes takes as many steps alone.
constexpr int STEPS_MAX = 300;
// Positions stay far below this, so that no pushed position is another one's "away".
constexpr int8_t AWAY = 64;
constexpr int8_t awayFrom(int8_t position) { return position ^ AWAY; }
// What stands in a slot instead of a block.
constexpr Byte END = 8;

enum Hold : Byte { FREE, OWNED, HELD, RETURNING, ORPHAN };
enum Life : Byte { LIVE, DEAD, VACANT };
enum Role : Byte { SENDER, RECEIVER, DEAD_LETTERS, LOOKER, SWEEPER, ENDER };

// Which steps are broken. Each has to be caught in at least one size, or its harmlessness is explained in README.md.
enum Mutant {
  NOTHING,
  NO_POSITION_CHECK,
  NO_LANE_CHECK,
  LANE_CHECKED_AFTER_POSITION,
  LANE_CHECKED_BEFORE_POSITION,
  RELEASE_KEEPS_POSITION,
  RELEASE_MOVES_POSITION_LATE,
  RELEASE_TOGGLES_POSITION,
  PUSH_WRITES_POSITION_LATE,
  SENDER_KEEPS_POSITION,
  SWEEP_FREES_PUSHED,
  ADOPT_KEEPS_POSITION,
  AGAIN_KEEPS_POSITION,
  AGAIN_MOVES_POSITION_AFTER_LANE,
  RETURNING_KEEPS_SEQ,
  ORPHAN_KEEPS_SEQ,
  ADOPT_KEEPS_SEQ,
  ORPHANS_KEEP_SEQ_TWICE,
  ORPHANS_AND_RETURNING_KEEP_SEQ,
  OWNED_KEEPS_SEQ,
  TAKE_IGNORES_SEQ,
  TAIL_BEFORE_PUSH,
  SEEN_BEFORE_LOOK,
  LEFT_LOADED_LATE,
  SWEEP_COUNTS_OWN_ORPHANS_ONLY,
  SWEEP_LOADS_CELL_AGAIN,
  SWEEP_ASKS_LIFE_FIRST,
  LOOK_ADOPTS_BEHIND_END,
  REOPEN_WITHOUT_LEFT,
  ORPHAN_AT_END_WITHOUT_LEFT,
  ORPHAN_WITHOUT_MARK,
  END_TAKES_WITHOUT_LIMIT,
  END_TAKES_WITHOUT_AWAY,
  OVER_WITHOUT_LOOK_AT_CELLS,
  OVER_WITHOUT_END_AGAIN,
  OVER_WITHOUT_LEFT_AGAIN,
  OVER_ASKS_ANY_LANE,
  DONE_AFTER_FREE,
  DONE_AFTER_DELIVERY,
  ADOPT_DROPS_REST,
  AS_MANY_SLOTS_AS_BLOCKS,
  MUTANTS,
};

const char* const mutantNames[MUTANTS] = {
    "nothing",
    "T3 without the position",
    "T3 without the lane",
    "T3 reads the lane only after the position",
    "T3 reads the lane only before the position",
    "T6 left out",
    "T6 after T7",
    "T6 toggles the position, also of an adopted block",
    "P2 after P3",
    "a sender writes the lane before the position is away",
    "S2 left out",
    "R2 left out by an adopter",
    "R2 left out by a live holder",
    "R2 after the lane is changed",
    "R3 keeps seq",
    "S4 keeps seq",
    "R1 keeps seq",
    "S4 and R1 keep seq",
    "S4, R1 and R3 keep seq",
    "A2 keeps seq",
    "T4 ignores seq and owner",
    "P4 before P3",
    "seen is stored before the look",
    "left is loaded after the look",
    "a sweep counts only the orphans that it left itself",
    "a look loads the cell again after it asked who lives",
    "a look asks who lives before it loads the cell",
    "a look adopts an orphan whose lane has ended",
    "reopen does not raise left",
    "an orphan at the END does not raise left",
    "an orphan that its living holder left is not marked, at most once",
    "a receiver at the END does not ask maxDeliveries",
    "R2 left out by a receiver at the END",
    "null without a look at the cells",
    "null without a second look at the END",
    "null without a second look at left",
    "null asks any lane whether a block was pushed",
    "done is stored after the block is free",
    "done is stored after the delivery, at most once",
    "an adopter frees the rest of a packed block, at most once",
    "as many slots as blocks",
};

struct Size {
  int senders = 1, messages = 2, receivers = 1, deadLetterReceivers = 0, lookers = 0, provers = 0, sweepers = 0;
  std::string ender;  // E: end, R: reopen
  int slots = 2, blocks = 1, lanes = 1, deadLane = 0, parts = 1, atLeastOnce = 0, maxDeliveries = 3;
  int kills = 0, requeues = 0, copies = 0, restarts = 0, leaves = 0;
  Role restartRole = SENDER;
};

struct Cell {
  Hold hold = FREE;
  Byte slot = 0, seq = 0;
  bool operator==(const Cell& other) const { return hold == other.hold && slot == other.slot && seq == other.seq; }
};

struct Slot {
  int8_t lap = 0;
  Byte index = 0;
  bool operator==(const Slot& other) const { return lap == other.lap && index == other.index; }
};

struct Block {
  Cell cell;
  int8_t position = 0;
  // Parts [done, count) are to be delivered; `isMarked`: a live holder has put it back.
  Byte lane = 0, deliveries = 0, done = 0, count = 0, isMarked = 0, message = 0;
};

struct Lane {
  Slot slots[SLOTS_MAX];
  int8_t tail = 0, head = 0;
  // What only the model knows: the first position not pushed, the first one not taken, and the messages in between.
  int8_t pushed = 0, taken = 0;
  Byte messageAt[POSITIONS_MAX] = {};
};

enum Step : Byte {
  IDLE,
  // send
  A1, A2, A3_PAYLOAD, A3_AWAY, A3_HEADER, P1, P2, P3, P4, GIVE_BACK,
  // receive
  T1, T2, T3_POSITION, T3_LANE, T3_LANE_AGAIN, T4, OPEN, DONE_BEFORE, DELIVER, DONE_BEHIND, DONE_LATE, HEAD, T6, T7, T6_LATE,
  OVER_LEFT, OVER_CELL, OVER_HELD_LANE, OVER_ORPHAN_LANE, OVER_R1, OVER_R2, OVER_UNMARK, OVER_LANE, OVER_POSITION, OVER_SLOT, OVER_END, OVER_LEFT_AGAIN,
  // send a copy again
  COPY_A1, COPY_A2, COPY_WRITE, COPY_HELD,
  // push again
  AGAIN, AGAIN_END, AGAIN_LANE, AGAIN_AWAY, R3, LEAVE_MARK, LEAVE_ORPHAN, LEAVE_LEFT,
  // look through, adopt
  LOOK_LEFT, LOOK_LIFE_FIRST, LOOK_CELL, LOOK_LIFE, LOOK_AGAIN, LOOK_SEEN, ORPHAN_LANE, ORPHAN_END, R1_LOAD, R1, R2, R3_REST,
  // sweep
  S1, S2_LANE, S2_POSITION, S2_SLOT, S3, SWEEP_IS_ORPHAN, SWEEP_LEFT, SWEEP_OVER,
  // end, reopen
  END_WALK, END_CAS, REOPEN_WALK, REOPEN_CAS, REOPEN_LEFT,
};

const char* const stepNames[] = {
    "IDLE", "A1", "A2", "A3 payload", "A3 away", "A3 header", "P1", "P2", "P3", "P4", "gives the block back",
    "T1", "T2", "T3 position", "T3 lane", "T3 lane again", "T4", "opens", "done before", "delivers", "done behind", "done late", "head", "T6", "T7", "T6 late",
    "over: left", "over: cell", "over: lane held", "over: lane orphan", "over: R1", "over: R2", "over: unmark", "over: lane", "over: position", "over: slot", "over: END", "over: left again",
    "copy: A1", "copy: A2", "copy: A3", "copy: HELD",
    "again", "again: END?", "again: lane", "again: away", "R3", "mark", "R3: ORPHAN", "R3: left",
    "look: left", "look: life first", "look: cell", "look: life", "look: cell again", "look: seen", "orphan: lane", "orphan: END?", "R1 load", "R1", "R2", "R3 rest",
    "S1", "S2 lane", "S2 position", "S2 slot", "S3/S4", "sweep: orphan?", "sweep: left", "sweep: over",
    "end: walk", "end: CAS", "reopen: walk", "reopen: CAS", "reopen: left",
};

struct Peer {
  Role role = SENDER;
  Life life = LIVE;
  Step step = IDLE;
  // What it still has to do: messages to send, requeues, or letters of the ender's script.
  Byte left = 0;
  // The number of its next message. Messages are numbered from 1 on; the last one is that of a slot's next holder.
  Byte next = 0;
  int8_t pushGuess[LANES_MAX] = {}, takeGuess[LANES_MAX] = {};
  int8_t storedHead[LANES_MAX] = {};
  // Of the call under way. All zero between calls.
  Byte block = 0;
  Cell cell;
  int8_t position = 0;
  Slot word;
  Byte lane = 0, message = 0, part = 0;
  Byte target = 0;         // slot that is being swept; lane a block goes to
  Byte ended = 0;          // lanes that have ended
  int8_t endAt[LANES_MAX] = {};
  Byte orphans = 0;        // orphans left, as loaded; whether a sweep has met some
  Byte gone = 0;           // a set of slots
  // The pack whose part is being sent again.
  Byte pack = 0;
  Cell packCell;
};

struct State {
  Lane lanes[LANES_MAX];
  Block blocks[BLOCKS_MAX];
  Peer peers[PEERS_MAX];
  Byte orphansLeft = 0, orphansSeen = 0;
  // What only the model knows.
  Byte kills = 0, requeues = 0, copies = 0, restarts = 0, leaves = 0;
  Byte committed = 0;      // a bit for each message
  Byte again = 0;          // may come more than once: its holder was killed, or has put it back
  Byte mayBeLost = 0;      // at most once: its holder was killed
  Byte givenUp = 0;
  Byte isEnding = 0;       // 0 open, 1 ending, 2 ended, 3 reopening, 4 unknown: killed half-way
  Byte delivered[MESSAGES_MAX][PARTS_MAX] = {};
};

class MpmcQueue {
 public:
  using State = models::State;
  std::string violation;

  MpmcQueue(Size size, Mutant mutant) : size(size), mutant(mutant) {
    for (int k = 0; k < size.senders; k++) roles.push_back(SENDER);
    for (int k = 0; k < size.receivers; k++) roles.push_back(RECEIVER);
    for (int k = 0; k < size.deadLetterReceivers; k++) roles.push_back(DEAD_LETTERS);
    for (int k = 0; k < size.lookers + size.provers; k++) roles.push_back(LOOKER);
    for (int k = 0; k < size.sweepers; k++) roles.push_back(SWEEPER);
    if (!size.ender.empty()) roles.push_back(ENDER);
    peers = int(roles.size());
    allLanes = size.lanes + size.deadLane;
    slots = mutant == AS_MANY_SLOTS_AS_BLOCKS ? size.blocks : size.slots;
  }

  State initial() {
    State s;
    for (int i = 0; i < peers; i++) {
      s.peers[i].role = roles[i];
      if (roles[i] == SENDER) s.peers[i].left = Byte(size.messages), s.peers[i].next = Byte(i * size.messages + 1);
      if (roles[i] == ENDER) s.peers[i].left = Byte(size.ender.size());
    }
    return s;
  }

  // --- How a state is stored: only what this size uses.

  template <class Visit>
  void visit(State& s, Visit each) {
    for (int lane = 0; lane < allLanes; lane++) {
      Lane& l = s.lanes[lane];
      for (int k = 0; k < slots; k++) each(l.slots[k]);
      each(l.tail), each(l.head), each(l.pushed), each(l.taken), each(l.messageAt);
    }
    for (int b = 0; b < size.blocks; b++) each(s.blocks[b]);
    for (int i = 0; i < peers; i++) {
      Peer& q = s.peers[i];
      each(q.role), each(q.life), each(q.step), each(q.left), each(q.next), each(q.block), each(q.cell), each(q.position), each(q.word);
      each(q.lane), each(q.message), each(q.part), each(q.target), each(q.ended), each(q.orphans), each(q.gone), each(q.pack), each(q.packCell);
      for (int lane = 0; lane < allLanes; lane++) {
        each(q.pushGuess[lane]), each(q.takeGuess[lane]), each(q.storedHead[lane]), each(q.endAt[lane]);
      }
    }
    each(s.orphansLeft), each(s.orphansSeen), each(s.kills), each(s.requeues), each(s.copies), each(s.restarts), each(s.leaves);
    each(s.committed), each(s.again), each(s.mayBeLost), each(s.givenUp), each(s.isEnding);
    for (int m = 0; m < messageCount(); m++) each(s.delivered[m]);
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

  // --- The actions.

  template <class Take>
  void actions(const State& state, Take take) {
    for (int i = 0; i < peers; i++) {
      const Peer& q = state.peers[i];
      if (q.life == LIVE) {
        bool hasMoved = false;
        int choices = 1;
        for (int k = 0; k < choices; k++) {
          State next = state;
          choice = k;
          choiceCount = 1;
          if (!step(next, i) && violation.empty()) continue;
          hasMoved = true;
          choices = std::max(choices, choiceCount);
          take(actionOf(i, k), next);
          if (!violation.empty()) return;
        }
        // Killed between calls it leaves nothing, except for what others still want of it: that is the same as not going on.
        if (hasMoved && q.step != IDLE && state.kills < size.kills) {
          State next = state;
          kill(next, i);
          take(actionOf(i, KILL), next);
        }
        if (q.step == IDLE && q.role == SENDER && q.left == 0 && state.leaves < size.leaves) {
          State next = state;
          next.leaves++;
          next.peers[i].life = VACANT;
          take(actionOf(i, LEAVE), next);
        }
      } else if (q.life == VACANT && state.restarts < size.restarts) {
        State next = state;
        next.restarts++;
        restart(next, i);
        take(actionOf(i, RESTART), next);
      }
    }
  }

  // Nothing is left to do. Then everything has to be as the queue promises.
  bool checkRest(const State& s) {
    for (int i = 0; i < peers; i++) {
      const Peer& q = s.peers[i];
      if (q.life == DEAD && size.sweepers + size.provers > 0) return false;
      if (q.life != LIVE) continue;
      if (q.step != IDLE) return false;
      if ((q.role == SENDER || q.role == ENDER) && q.left > 0) return false;
      if (q.role == LOOKER && s.orphansLeft != s.orphansSeen) return false;
    }
    if (!isAny(s, RECEIVER) || (size.deadLane && !isAny(s, DEAD_LETTERS))) return false;
    if (!isAny(s, LOOKER) && s.kills > 0) return false;
    for (int lane = 0; lane < allLanes; lane++) if (s.lanes[lane].taken != s.lanes[lane].pushed) return false;
    for (int b = 0; b < size.blocks; b++) {
      const Block& block = s.blocks[b];
      // Receivers take it from there.
      if (block.cell.hold == ORPHAN && block.lane < size.lanes && hasAllEnded(s)) return false;
      // A looker brings it back; a size without one leaves it.
      if (block.cell.hold == ORPHAN && !isAny(s, LOOKER)) return false;
      if (block.cell.hold == ORPHAN) fail("at rest, and an orphan is forgotten");
      if (block.cell.hold != FREE) fail("at rest, and a block is not free");
    }
    for (int m = 0; m < messageCount(); m++) {
      int delivered = 0;
      for (int part = 0; part < size.parts; part++) {
        const int times = s.delivered[m][part];
        delivered += times > 0;
        if (times > 1 && !(s.again >> m & 1)) fail("a message was delivered twice");
        if (times > 0 && !(s.committed >> m & 1)) fail("a message was delivered that was not sent");
      }
      if (!(s.committed >> m & 1) || delivered == size.parts || (s.givenUp >> m & 1)) continue;
      if (size.atLeastOnce || !(s.mayBeLost >> m & 1)) fail("a message was never delivered");
      // At most once, a death loses the one message that its holder was about to give.
      if (size.parts - delivered > s.kills) fail("a death has lost more than one message of a packed block");
    }
    for (int lane = 0; lane < size.lanes; lane++) {
      const int8_t at = s.lanes[lane].pushed;
      const Slot word = s.lanes[lane].slots[at % slots];
      const bool isEnd = isPushedWord(word, at) && word.index == END;
      if (s.isEnding == 2 && !isEnd) fail("at rest, and the END is lost");
      if (s.isEnding == 0 && isEnd) fail("at rest, and an END stands in an open queue");
    }
    return true;
  }

  bool hasAllEnded(const State& s) const {
    for (int lane = 0; lane < size.lanes; lane++) {
      const int at = s.lanes[lane].pushed;
      const Slot word = s.lanes[lane].slots[at % slots];
      if (!isPushedWord(word, at) || word.index != END) return false;
    }
    return true;
  }

  // From each state, each peer alone finishes what it does, wherever the others are stopped. A looker comes to an end of its looks.
  template <class OnRun>
  void solo(const State& state, OnRun onRun) {
    for (int i = 0; i < peers; i++) {
      const bool isLooker = state.peers[i].role == LOOKER && !proves(i);
      if (state.peers[i].life != LIVE || (state.peers[i].step == IDLE && !isLooker)) continue;
      State s = state;
      int steps = 0;
      choice = 0;
      while ((s.peers[i].step != IDLE || isLooker) && steps < STEPS_MAX && step(s, i)) steps++;
      if (steps == STEPS_MAX) fail("a call does not end, though its peer runs alone");
      if (!violation.empty()) return;
      onRun(steps);
    }
  }

  std::string describe(Byte action, const State& s) {
    const int i = peerOf(action);
    const Peer& q = s.peers[i];
    static const char* const roleNames[] = {"sender", "receiver", "dead letters' receiver", "looker", "sweeper", "ender"};
    char text[160];
    const char* what = kindOf(action) == KILL ? "is killed" : kindOf(action) == RESTART ? "attaches in this slot" : kindOf(action) == LEAVE ? "leaves" : "";
    snprintf(text, sizeof text, "%-8s %d %-10s-> %-18s", roleNames[q.role], i, what, stepNames[q.step]);
    std::string line = text;
    static const char holds[] = "FOHRX";
    for (int b = 0; b < size.blocks; b++) {
      const Block& k = s.blocks[b];
      snprintf(text, sizeof text, " | block %d %c%d.%d at %d%s lane %d m%d done %d", b, holds[k.cell.hold], k.cell.slot, k.cell.seq,
               k.position & ~AWAY, k.position & AWAY ? "~" : "", k.lane, k.message, k.done);
      line += text;
    }
    for (int lane = 0; lane < allLanes; lane++) {
      snprintf(text, sizeof text, " | lane %d pushed %d taken %d:", lane, s.lanes[lane].pushed, s.lanes[lane].taken);
      line += text;
      for (int k = 0; k < slots; k++) {
        const Slot w = s.lanes[lane].slots[k];
        snprintf(text, sizeof text, w.index == END ? " %d.END" : " %d.%d", w.lap, w.index);
        line += text;
      }
    }
    return line;
  }

 private:
  const Size size;
  const Mutant mutant;
  std::vector<Role> roles;
  int peers, allLanes, slots;
  int choice = 0, choiceCount = 1;

  void fail(const char* what) { if (violation.empty()) violation = what; }

  int messageCount() const { return size.senders * size.messages + size.restarts; }
  int lapOf(int position) const { return position / slots; }
  bool isAny(const State& s, Role role) const {
    for (int i = 0; i < peers; i++) if (s.peers[i].role == role && s.peers[i].life == LIVE) return true;
    return false;
  }

  // Chooses one of several alternatives.
  int choose(int count) {
    choiceCount = count;
    return choice;
  }

  static void finish(Peer& q) {
    q.step = IDLE;
    q.block = q.lane = q.message = q.part = q.target = q.ended = q.orphans = q.gone = q.pack = 0;
    q.cell = q.packCell = Cell();
    q.word = Slot();
    q.position = 0;
    for (int8_t& at : q.endAt) at = 0;
  }

  // A peer dies with what it holds.
  void kill(State& s, int i) {
    s.kills++;
    s.peers[i].life = DEAD;
    for (int b = 0; b < size.blocks; b++) {
      const Block& block = s.blocks[b];
      if (block.cell.slot != i || block.message == 0) continue;
      if (block.cell.hold != HELD && block.cell.hold != RETURNING) continue;
      (size.atLeastOnce ? s.again : s.mayBeLost) |= bitOf(block.message);
    }
    if (s.peers[i].role == ENDER) s.isEnding = 4;
    const Role role = s.peers[i].role;
    // Its memory is gone; the lease that a sweeper had is free.
    s.peers[i] = Peer();
    s.peers[i].role = role;
    s.peers[i].life = DEAD;
  }

  void restart(State& s, int i) {
    Peer& q = s.peers[i];
    q = Peer();
    q.role = size.restartRole;
    q.left = q.role == SENDER ? 1 : 0;
    q.next = q.left ? Byte(size.senders * size.messages + s.restarts) : 0;
    for (int lane = 0; lane < allLanes; lane++) {
      q.pushGuess[lane] = s.lanes[lane].tail;
      q.takeGuess[lane] = q.storedHead[lane] = s.lanes[lane].head;
    }
  }

  static Byte bitOf(int message) { return Byte(1 << (message - 1)); }

  bool isFree(Slot word, int position) const { return word.lap == lapOf(position); }
  bool isPushedWord(Slot word, int position) const { return word.lap == lapOf(position) + 1; }

  // I4: only the peer that the cell names writes the block.
  void assertMine(const State& s, const Peer& q) {
    if (!(s.blocks[q.block].cell == q.cell)) fail("I4: a peer writes into a block that is not its own");
  }

  bool cas(State& s, Peer& q, Cell next) {
    Cell& cell = s.blocks[q.block].cell;
    if (!(cell == q.cell)) return false;
    cell = q.cell = next;
    return true;
  }

  static Byte nextSeq(Byte seq) { return Byte((seq + 1) % 64); }

  // I1, I3: a block is pushed at the first position that is not pushed, and overwrites nothing.
  void notePushed(State& s, int lane, int position, int block) {
    Lane& l = s.lanes[lane];
    if (position != l.pushed) fail("I1: pushed at a position that is not the first free one");
    if (position - slots >= l.taken) fail("a slot was overwritten unread");
    const Hold hold = s.blocks[block].cell.hold;
    if (hold != OWNED && hold != RETURNING) fail("I3: a pushed block is neither OWNED nor RETURNING");
    if (position >= POSITIONS_MAX) fail("the model is too small");
    for (int k = l.taken; k < l.pushed; k++) if (l.slots[k % slots].index == block) fail("I3: a block was pushed twice");
    l.messageAt[position] = s.blocks[block].message;
    l.pushed++;
    s.committed |= bitOf(s.blocks[block].message);
  }

  void raise(int8_t& hint, int8_t position) { if (hint < position) hint = position; }

  void toNextPosition(Peer& q) {
    q.position++;
    q.step = T1;
    q.block = 0;
    q.cell = Cell();
  }

  bool isDeadLetters(const Peer& q) const { return q.role == DEAD_LETTERS; }

  // One step of a peer. Returns false if it has nothing to do.
  bool step(State& s, int i) {
    Peer& q = s.peers[i];
    switch (q.step) {
      case IDLE: return begin(s, i);
      case A1: case A2: case A3_PAYLOAD: case A3_AWAY: case A3_HEADER: case P1: case P2: case P3: case P4: case GIVE_BACK:
        return stepSend(s, i);
      case COPY_A1: case COPY_A2: case COPY_WRITE: case COPY_HELD:
        return stepCopy(s, i);
      case AGAIN: case AGAIN_END: case AGAIN_LANE: case AGAIN_AWAY: case R3: case LEAVE_MARK: case LEAVE_ORPHAN: case LEAVE_LEFT:
        return stepAgain(s, i);
      case LOOK_LEFT: case LOOK_LIFE_FIRST: case LOOK_CELL: case LOOK_LIFE: case LOOK_AGAIN: case LOOK_SEEN: case ORPHAN_LANE: case ORPHAN_END: case R1_LOAD: case R1: case R2: case R3_REST:
        return stepLook(s, i);
      case S1: case S2_LANE: case S2_POSITION: case S2_SLOT: case S3: case SWEEP_IS_ORPHAN: case SWEEP_LEFT: case SWEEP_OVER:
        return stepSweep(s, i);
      case END_WALK: case END_CAS: case REOPEN_WALK: case REOPEN_CAS: case REOPEN_LEFT:
        return stepEnd(s, i);
      default: return stepReceive(s, i);
    }
  }

  bool begin(State& s, int i) {
    Peer& q = s.peers[i];
    switch (q.role) {
      case SENDER:
        if (q.left == 0) return false;
        q.lane = Byte(i % size.lanes);
        q.block = firstLook(i);
        q.step = A1;
        return step(s, i);
      case RECEIVER: case DEAD_LETTERS:
        q.lane = isDeadLetters(q) ? Byte(size.lanes) : Byte(size.lanes - 1);
        q.position = q.takeGuess[q.lane];
        q.step = T1;
        return step(s, i);
      case LOOKER: {
        bool isDue = s.orphansLeft != s.orphansSeen;
        // Provers look now and then; without a dead or former peer they find nothing.
        if (proves(i)) for (int k = 0; k < peers; k++) isDue = isDue || s.peers[k].life != LIVE;
        if (!isDue) return false;
        q.step = LOOK_LEFT;
        return step(s, i);
      }
      case SWEEPER:
        // The lease of a dead peer's slot has one holder at a time.
        for (int d = 0; d < peers; d++) {
          if (s.peers[d].life != DEAD) continue;
          bool isLeased = false;
          for (int k = 0; k < peers; k++) {
            const Peer& other = s.peers[k];
            if (other.role == SWEEPER && other.life == LIVE && other.step != IDLE && other.target == d) isLeased = true;
          }
          if (isLeased) continue;
          q.target = Byte(d);
          q.step = S1;
          return step(s, i);
        }
        return false;
      default:
        if (q.left == 0) return false;
        if (size.ender[size.ender.size() - q.left] == 'E') {
          if (s.isEnding == 0) s.isEnding = 1;
          q.step = END_WALK;
        } else {
          if (s.isEnding == 2) s.isEnding = 3;
          q.step = REOPEN_WALK;
        }
        q.position = q.pushGuess[0];
        return step(s, i);
    }
  }

  bool proves(int i) const {
    int first = 0;
    while (roles[first] != LOOKER) first++;
    return i - first >= size.lookers;
  }

  // --- block-table.ts, Slots.push

  // Attachments look for free blocks in different orders: even slots from the last block on, odd ones from the first.
  Byte firstLook(int i) const { return i % 2 ? 0 : Byte(size.blocks - 1); }
  bool nextLook(Peer& q, int i) const {
    if (q.block == (i % 2 ? size.blocks - 1 : 0)) return false;
    q.block += i % 2 ? 1 : -1;
    return true;
  }

  bool stepSend(State& s, int i) {
    Peer& q = s.peers[i];
    Lane& lane = s.lanes[q.lane];
    Block& block = s.blocks[q.block];
    switch (q.step) {
      case A1:
        if (block.cell.hold == FREE) {
          q.cell = block.cell;
          q.step = A2;
        } else if (!nextLook(q, i)) {
          finish(q);
        }
        return true;
      case A2: {
        const Byte seq = mutant == OWNED_KEEPS_SEQ ? q.cell.seq : nextSeq(q.cell.seq);
        if (cas(s, q, {OWNED, Byte(i), seq})) q.step = A3_PAYLOAD;
        else q.step = A1, q.cell = Cell(), q.block = firstLook(i);
        return true;
      }
      case A3_PAYLOAD:
        assertMine(s, q);
        block.message = q.next;
        // With one lane it makes no difference, and the code leaves it out.
        q.step = allLanes == 1 || mutant == SENDER_KEEPS_POSITION ? A3_HEADER : A3_AWAY;
        return true;
      case A3_AWAY:
        assertMine(s, q);
        block.position = awayFrom(q.pushGuess[q.lane]);
        q.step = A3_HEADER;
        return true;
      case A3_HEADER:
        assertMine(s, q);
        block.lane = q.lane;
        block.deliveries = block.done = block.isMarked = 0;
        block.count = Byte(size.parts);
        q.position = q.pushGuess[q.lane];
        q.step = P1;
        return true;
      case P1: {
        const Slot word = lane.slots[q.position % slots];
        if (isFree(word, q.position)) {
          q.word = word;
          q.step = mutant == PUSH_WRITES_POSITION_LATE ? P3 : P2;
          if (mutant == TAIL_BEFORE_PUSH) raise(lane.tail, int8_t(q.position + 1));
        } else if (!isPushedWord(word, q.position)) {
          q.position = std::max<int8_t>(q.position + 1, lane.tail);
        } else if (word.index < END) {
          q.position++;
        } else {
          foundEnd(s, q);
        }
        return true;
      }
      case P2:
        assertMine(s, q);
        block.position = q.position;
        q.step = P3;
        return true;
      case P3: {
        Slot& word = lane.slots[q.position % slots];
        if (!(word == q.word)) {
          q.word = Slot();
          q.step = P1;
          return true;
        }
        if (s.isEnding == 2 && block.cell.hold == OWNED && q.lane < size.lanes) fail("a message was sent behind the end");
        notePushed(s, q.lane, q.position, q.block);
        word = {int8_t(lapOf(q.position) + 1), q.block};
        q.word = Slot();
        q.step = P4;
        return true;
      }
      case P4:
        if (mutant == PUSH_WRITES_POSITION_LATE && q.word.lap == 0) {
          block.position = q.position;
          q.word.lap = 1;
          return true;
        }
        raise(lane.tail, int8_t(q.position + 1));
        q.pushGuess[q.lane] = int8_t(q.position + 1);
        afterPush(q);
        return true;
      default:  // GIVE_BACK
        if (!cas(s, q, {FREE, 0, q.cell.seq})) fail("a block was taken from its live owner");
        q.left = 0;
        finish(q);
        return true;
    }
  }

  void foundEnd(State& s, Peer& q) {
    q.pushGuess[q.lane] = q.position;
    if (q.cell.hold == RETURNING) {
      leaveOrphan(q);
      return;
    }
    if (s.isEnding == 0) fail("a sender was told that the queue has ended, and it is open");
    q.word = Slot();
    q.step = GIVE_BACK;
  }

  void afterPush(Peer& q) {
    if (q.role == SENDER) {
      q.left--;
      q.next = q.left ? q.next + 1 : 0;
      finish(q);
    } else if (q.role == LOOKER) {
      toNextBlock(q);
    } else if (q.packCell.hold == HELD) {
      // The copy of a part is on its way: this part is settled.
      q.block = q.pack;
      q.cell = q.packCell;
      q.packCell = Cell();
      q.pack = q.target = q.lane = 0;
      q.message = 0;
      q.position = 0;
      q.word = Slot();
      q.step = DONE_BEHIND;
    } else {
      finish(q);
    }
  }

  // --- Slots.take, receiver.ts, pack.ts

  bool stepReceive(State& s, int i) {
    Peer& q = s.peers[i];
    Lane& lane = s.lanes[q.lane];
    Block& block = s.blocks[q.block];
    switch (q.step) {
      case T1: {
        const Slot word = lane.slots[q.position % slots];
        if (isFree(word, q.position)) {
          if (lane.taken != lane.pushed) fail("empty was answered, and a message was there");
          foundNothing(s, q, false);
        } else if (!isPushedWord(word, q.position)) {
          q.position = std::max<int8_t>(q.position + 1, lane.head);
        } else if (word.index < END) {
          q.block = word.index;
          q.step = T2;
        } else {
          if (lane.taken != lane.pushed) fail("END was found, and a message was there");
          foundNothing(s, q, true);
        }
        return true;
      }
      case T2:
        if (block.cell.hold == OWNED || block.cell.hold == RETURNING) {
          q.cell = block.cell;
          q.step = allLanes == 1 || mutant == NO_LANE_CHECK || mutant == LANE_CHECKED_AFTER_POSITION ? T3_POSITION : T3_LANE;
        } else {
          toNextPosition(q);
        }
        return true;
      case T3_LANE:
        if (block.lane != q.lane) toNextPosition(q);
        else q.step = T3_POSITION;
        return true;
      case T3_POSITION:
        if (block.position != q.position && mutant != NO_POSITION_CHECK) toNextPosition(q);
        else q.step = allLanes == 1 || mutant == NO_LANE_CHECK || mutant == LANE_CHECKED_BEFORE_POSITION ? T4 : T3_LANE_AGAIN;
        return true;
      case T3_LANE_AGAIN:
        if (block.lane != q.lane) toNextPosition(q);
        else q.step = T4;
        return true;
      case T4: {
        if (mutant == TAKE_IGNORES_SEQ && (block.cell.hold == OWNED || block.cell.hold == RETURNING)) q.cell = block.cell;
        if (!cas(s, q, {HELD, Byte(i), q.cell.seq})) {
          toNextPosition(q);
          return true;
        }
        if (q.position != lane.taken) fail("I2: taken at a position that is not the first one not taken");
        if (q.position < lane.pushed) q.message = lane.messageAt[int(q.position)], lane.messageAt[int(q.position)] = 0;
        lane.taken++;
        q.takeGuess[q.lane] = int8_t(q.position + 1);
        q.step = OPEN;
        return true;
      }
      case OPEN:
        if (size.atLeastOnce && ++block.deliveries > size.maxDeliveries && block.lane < size.lanes) fail("a message was delivered more often than maxDeliveries");
        if (q.message > 0 && block.message != q.message) fail("the bytes in the block are not the message that was pushed at this position");
        q.part = block.done;
        q.step = size.parts > 1 && !size.atLeastOnce && mutant != DONE_AFTER_DELIVERY ? DONE_BEFORE : DELIVER;
        return true;
      case DONE_BEFORE:
        assertMine(s, q);
        if (mayRequeue(s, q, true)) return true;
        block.done = Byte(q.part + 1);
        q.step = DELIVER;
        return true;
      case DELIVER:
        if (mayRequeue(s, q, false)) return true;
        if (q.message > 0 && block.message != q.message) fail("the bytes in the block are not the message that was pushed at this position");
        if (block.message > 0) s.delivered[block.message - 1][q.part] = Byte(std::min(3, s.delivered[block.message - 1][q.part] + 1));
        q.part++;
        if (mayCopy(s, q)) return true;
        if (size.parts > 1 && (size.atLeastOnce || mutant == DONE_AFTER_DELIVERY) && !(mutant == DONE_AFTER_FREE && q.part == block.count)) q.step = DONE_BEHIND;
        else q.step = nextPart(s, q);
        return true;
      case DONE_BEHIND:
        assertMine(s, q);
        block.done = q.part;
        q.step = nextPart(s, q);
        return true;
      case HEAD:
        // Here every 2 messages, in the code every 32.
        if (q.takeGuess[q.lane] - q.storedHead[q.lane] >= 2) {
          raise(lane.head, q.takeGuess[q.lane]);
          q.storedHead[q.lane] = q.takeGuess[q.lane];
        }
        q.step = mutant == RELEASE_KEEPS_POSITION || mutant == RELEASE_MOVES_POSITION_LATE ? T7 : T6;
        if (mayRequeueWhole(s, q)) return true;
        return step(s, i);
      case T6:
        assertMine(s, q);
        if (mutant == RELEASE_TOGGLES_POSITION) block.position ^= AWAY;
        else block.position = awayFrom(s.lanes[block.lane].head);
        q.step = T7;
        return true;
      case T7:
        if (!cas(s, q, {FREE, 0, q.cell.seq})) fail("a block was taken from its live holder");
        if (mutant == RELEASE_MOVES_POSITION_LATE) q.step = T6_LATE;
        else if (mutant == DONE_AFTER_FREE && size.parts > 1) q.step = DONE_LATE;
        else if (q.role == LOOKER) toNextBlock(q);
        else finish(q);
        return true;
      case T6_LATE:
        block.position = awayFrom(lane.head);
        if (q.role == LOOKER) toNextBlock(q);
        else finish(q);
        return true;
      case DONE_LATE:
        assertMine(s, q);
        block.done = q.part;
        finish(q);
        return true;
      default: return stepOver(s, i);
    }
  }

  Step nextPart(const State& s, const Peer& q) const {
    if (q.part >= s.blocks[q.block].count) return HEAD;
    return size.atLeastOnce || mutant == DONE_AFTER_DELIVERY ? DELIVER : DONE_BEFORE;
  }

  // A receiver that is closed gives the rest of a packed block back. (At most once: what `done` says was given.)
  bool mayRequeue(State& s, Peer& q, bool isBeforeDone) {
    if (size.parts == 1 || size.copies > 0 || s.requeues >= size.requeues || (!size.atLeastOnce && !isBeforeDone)) return false;
    if (choose(2) == 0) return false;
    requeue(s, q);
    return true;
  }

  // The program puts a message back that it has read.
  bool mayRequeueWhole(State& s, Peer& q) {
    if (size.parts > 1 || s.requeues >= size.requeues || isDeadLetters(q)) return false;
    if (choose(2) == 0) return false;
    requeue(s, q);
    return true;
  }

  // The program puts back one of several messages that came in one block: a copy of it is pushed, then it is settled.
  bool mayCopy(State& s, Peer& q) {
    if (size.parts == 1 || !size.atLeastOnce || s.copies >= size.copies) return false;
    if (choose(2) == 0) return false;
    s.copies++;
    s.delivered[s.blocks[q.block].message - 1][q.part - 1] = 0;
    q.pack = q.block;
    q.packCell = q.cell;
    q.message = s.blocks[q.block].message;
    q.block = firstLook(int(&q - s.peers));
    q.cell = Cell();
    q.step = COPY_A1;
    return true;
  }

  // --- QueueSide.sendAgain

  bool stepCopy(State& s, int i) {
    Peer& q = s.peers[i];
    Block& block = s.blocks[q.block];
    switch (q.step) {
      case COPY_A1:
        if (block.cell.hold == FREE) {
          q.cell = block.cell;
          q.step = COPY_A2;
        } else if (!nextLook(q, i)) {
          // No block is free: requeue returns false, and the program acknowledges the message instead.
          q.block = q.pack;
          q.cell = q.packCell;
          q.packCell = Cell();
          q.pack = q.message = 0;
          q.step = DONE_BEHIND;
        }
        return true;
      case COPY_A2:
        if (cas(s, q, {OWNED, Byte(i), nextSeq(q.cell.seq)})) q.step = COPY_WRITE;
        else q.step = COPY_A1, q.cell = Cell();
        return true;
      case COPY_WRITE:
        assertMine(s, q);
        block.message = q.message;
        block.position = awayFrom(s.lanes[s.blocks[q.pack].lane].head);
        block.lane = s.blocks[q.pack].lane;
        block.deliveries = s.blocks[q.pack].deliveries;
        block.done = Byte(q.part - 1);
        block.count = q.part;
        block.isMarked = 0;
        q.step = COPY_HELD;
        return true;
      default: {  // COPY_HELD
        const Byte part = q.part;
        if (!cas(s, q, {HELD, Byte(i), q.cell.seq})) fail("a block was taken from its live owner");
        q.step = AGAIN;
        q.part = part;
        return true;
      }
    }
  }

  void requeue(State& s, Peer& q) {
    s.requeues++;
    // From now on it counts as one that was not delivered.
    if (size.parts == 1) s.delivered[s.blocks[q.block].message - 1][0] = 0;
    q.step = AGAIN;
  }

  // This lane has nothing: the next one. If all have ended, whether that is the end.
  void foundNothing(State& s, Peer& q, bool isEnd) {
    Lane& lane = s.lanes[q.lane];
    raise(lane.head, q.position);
    raise(lane.tail, q.position);
    q.takeGuess[q.lane] = q.storedHead[q.lane] = q.position;
    if (isEnd) {
      q.ended++;
      q.endAt[q.lane] = q.position;
    }
    if (!isDeadLetters(q) && q.lane > 0) {
      q.lane--;
      q.position = q.takeGuess[q.lane];
      q.step = T1;
    } else if (isDeadLetters(q) || q.ended < size.lanes) {
      finish(q);
    } else {
      q.lane = q.ended = 0;
      q.position = 0;
      q.step = OVER_LEFT;
      if (mutant == OVER_WITHOUT_LOOK_AT_CELLS) answerNull(s, q);
    }
  }

  bool stepOver(State& s, int i) {
    Peer& q = s.peers[i];
    Block& block = s.blocks[q.block];
    switch (q.step) {
      case OVER_LEFT:
        q.orphans = s.orphansLeft;
        q.step = OVER_CELL;
        return true;
      case OVER_CELL: {
        const Cell cell = block.cell;
        if (cell.hold == ORPHAN) q.cell = cell, q.step = OVER_ORPHAN_LANE;
        else if (cell.hold == HELD && cell.slot != i) q.step = OVER_HELD_LANE;
        else if (cell.hold == RETURNING) q.step = mutant == OVER_ASKS_ANY_LANE ? OVER_POSITION : OVER_LANE;
        else nextOver(q);
        return true;
      }
      case OVER_HELD_LANE:
        // Dead letters do not come back.
        if (block.lane < size.lanes) finish(q);
        else nextOver(q);
        return true;
      case OVER_ORPHAN_LANE:
        if (block.lane < size.lanes) q.step = OVER_R1;
        else nextOver(q);
        return true;
      case OVER_R1:
        if (cas(s, q, {HELD, Byte(i), nextSeq(q.cell.seq)})) {
          q.orphans = q.lane = 0;
          for (int8_t& at : q.endAt) at = 0;
          q.step = OVER_R2;
        } else {
          q.cell = Cell();
          q.step = OVER_CELL;
        }
        return true;
      case OVER_R2:
        assertMine(s, q);
        if (mutant != END_TAKES_WITHOUT_AWAY) block.position = awayFrom(s.lanes[block.lane].head);
        q.lane = block.lane;
        q.step = OVER_UNMARK;
        return true;
      case OVER_UNMARK:
        // What a killed peer held is lost, at most once; a message that was put back is not.
        if (size.atLeastOnce && block.deliveries >= size.maxDeliveries && mutant != END_TAKES_WITHOUT_LIMIT) q.step = AGAIN;
        else if (!size.atLeastOnce && !block.isMarked && !hasRest(block)) q.step = T6;
        else q.step = OPEN;
        block.isMarked = 0;
        return true;
      case OVER_LANE:
        q.lane = block.lane;
        q.step = OVER_POSITION;
        return true;
      case OVER_POSITION:
        q.position = block.position;
        q.step = OVER_SLOT;
        return true;
      case OVER_SLOT: {
        const Slot word = s.lanes[q.lane].slots[(q.position & ~AWAY) % slots];
        const bool isPushed = !(q.position & AWAY) && isPushedWord(word, q.position) && word.index == q.block;
        if (isPushed) {
          q.lane = 0, q.position = 0;
          nextOver(q);
        } else if (mutant == OVER_ASKS_ANY_LANE && q.lane + 1 < allLanes) {
          q.lane++;
        } else {
          finish(q);
        }
        return true;
      }
      case OVER_END: {
        const int at = q.endAt[q.lane];
        const Slot word = s.lanes[q.lane].slots[at % slots];
        if (!isPushedWord(word, at) || word.index < END) finish(q);
        else if (++q.lane == size.lanes) {
          // The moment at which it is the end, if it is.
          q.part = isOver(s, i) ? 0 : 1;
          if (mutant == OVER_WITHOUT_LEFT_AGAIN) answerNull(s, q);
          else q.step = OVER_LEFT_AGAIN;
        }
        return true;
      }
      case OVER_LEFT_AGAIN:
        if (mutant == OVER_WITHOUT_END_AGAIN) q.part = isOver(s, i) ? 0 : 1;
        if (s.orphansLeft != q.orphans) finish(q);
        else answerNull(s, q);
        return true;
      default: return false;
    }
  }

  bool hasRest(const Block& block) const { return size.parts > 1 && block.done < block.count; }

  void nextOver(Peer& q) {
    q.cell = Cell();
    q.lane = 0;
    q.step = OVER_CELL;
    if (++q.block < size.blocks) return;
    q.block = 0;
    q.step = OVER_END;
    if (mutant == OVER_WITHOUT_END_AGAIN) q.step = OVER_LEFT_AGAIN;
  }

  // The queue has ended, and everything was received.
  void answerNull(State& s, Peer& q) {
    if (mutant == OVER_WITHOUT_LOOK_AT_CELLS) q.part = !isOver(s, int(&q - s.peers));
    if (q.part) fail("null was answered, and a message is in the queue, or another peer has one");
    finish(q);
  }

  bool isOver(const State& s, int self) const {
    // Lanes are reopened one after the other, and may have new messages.
    if (s.isEnding < 2 || s.isEnding > 3 || (s.isEnding == 3 && size.lanes > 1)) return true;
    for (int lane = 0; lane < size.lanes; lane++) if (s.lanes[lane].taken != s.lanes[lane].pushed) return false;
    for (int b = 0; b < size.blocks; b++) {
      const Cell cell = s.blocks[b].cell;
      const bool isHeld = cell.hold == ORPHAN || cell.hold == RETURNING || (cell.hold == HELD && cell.slot != self);
      if (isHeld && !isInDeadLane(s, b)) return false;
    }
    return true;
  }

  bool isInDeadLane(const State& s, int b) const { return s.blocks[b].lane >= size.lanes; }

  // --- QueueSide.pushAgain, Slots.pushAgain

  bool stepAgain(State& s, int i) {
    Peer& q = s.peers[i];
    Block& block = s.blocks[q.block];
    switch (q.step) {
      case AGAIN: {
        q.target = block.lane;
        if (q.packCell.hold == FREE) q.message = q.part = 0;
        if (size.atLeastOnce && block.lane < size.lanes && block.deliveries >= size.maxDeliveries) {
          if (!size.deadLane) {
            s.givenUp |= bitOf(block.message);
            q.step = T6;
            return step(s, i);
          }
          q.target = Byte(size.lanes);
        }
        q.position = q.pushGuess[q.target];
        q.step = AGAIN_END;
        return step(s, i);
      }
      case AGAIN_END: {
        // Whether the lane has ended: #firstUnpushed.
        const Slot word = s.lanes[q.target].slots[q.position % slots];
        if (isFree(word, q.position)) toAway(q);
        else if (!isPushedWord(word, q.position)) q.position = std::max<int8_t>(q.position + 1, s.lanes[q.target].tail);
        else if (word.index != END) q.position++;
        else leaveOrphan(q);
        return true;
      }
      case AGAIN_AWAY:
        assertMine(s, q);
        block.position = awayFrom(s.lanes[q.target].head);
        q.step = mutant == AGAIN_MOVES_POSITION_AFTER_LANE ? R3 : AGAIN_LANE;
        return true;
      case AGAIN_LANE:
        assertMine(s, q);
        block.lane = q.target;
        q.step = mutant == AGAIN_MOVES_POSITION_AFTER_LANE ? AGAIN_AWAY : R3;
        return true;
      case R3: {
        const bool keepsSeq = mutant == RETURNING_KEEPS_SEQ || mutant == ORPHANS_AND_RETURNING_KEEP_SEQ;
        if (!cas(s, q, {RETURNING, Byte(i), keepsSeq ? q.cell.seq : nextSeq(q.cell.seq)})) fail("a block was taken from its live holder");
        q.lane = q.target;
        q.target = 0;
        q.step = P1;
        return true;
      }
      case LEAVE_MARK:
        assertMine(s, q);
        block.isMarked = 1;
        q.step = LEAVE_ORPHAN;
        return true;
      case LEAVE_ORPHAN:
        if (!cas(s, q, {ORPHAN, 0, nextSeq(q.cell.seq)})) fail("a block was taken from its live holder");
        q.cell = Cell();
        if (mutant == ORPHAN_AT_END_WITHOUT_LEFT) afterPush(q);
        else q.step = LEAVE_LEFT;
        return true;
      default:  // LEAVE_LEFT
        s.orphansLeft = Byte((s.orphansLeft + 1) % 16);
        afterPush(q);
        return true;
    }
  }

  void toAway(Peer& q) {
    q.step = mutant == AGAIN_MOVES_POSITION_AFTER_LANE ? AGAIN_LANE : AGAIN_AWAY;
    if (mutant == (q.role == LOOKER ? ADOPT_KEEPS_POSITION : AGAIN_KEEPS_POSITION)) q.step = AGAIN_LANE;
  }

  // The lane has ended: a receiver takes the block from where it lies.
  void leaveOrphan(Peer& q) {
    q.word = Slot();
    q.step = size.atLeastOnce || mutant == ORPHAN_WITHOUT_MARK ? LEAVE_ORPHAN : LEAVE_MARK;
  }

  // --- QueueSide.lookThrough, adopt

  void toNextBlock(Peer& q) {
    q.cell = Cell();
    q.word = Slot();
    q.position = 0;
    q.lane = q.target = q.message = q.part = q.gone = 0;
    q.block++;
    q.step = mutant == SWEEP_ASKS_LIFE_FIRST ? LOOK_LIFE_FIRST : LOOK_CELL;
    if (q.block == size.blocks) {
      q.block = 0;
      if (mutant == SEEN_BEFORE_LOOK) finish(q);
      else q.step = LOOK_SEEN;
    }
  }

  bool isGone(const State& s, int i, int slot) const {
    const Life life = s.peers[slot].life;
    return slot == i || life == VACANT || (life == DEAD && proves(i));
  }

  bool stepLook(State& s, int i) {
    Peer& q = s.peers[i];
    Block& block = s.blocks[q.block];
    const Step first = mutant == SWEEP_ASKS_LIFE_FIRST ? LOOK_LIFE_FIRST : LOOK_CELL;
    switch (q.step) {
      case LOOK_LEFT:
        if (mutant == SEEN_BEFORE_LOOK) s.orphansSeen = s.orphansLeft;
        else if (mutant != LEFT_LOADED_LATE) q.orphans = s.orphansLeft;
        q.step = first;
        return true;
      case LOOK_LIFE_FIRST:
        // Which slots are gone, as a set.
        q.gone = 0;
        for (int k = 0; k < peers; k++) if (isGone(s, i, k)) q.gone |= Byte(1 << k);
        q.step = LOOK_CELL;
        return true;
      case LOOK_CELL:
        q.cell = block.cell;
        if (q.cell.hold == FREE) {
          toNextBlock(q);
        } else if (q.cell.hold == ORPHAN) {
          q.cell = Cell();
          toOrphan(q);
        } else if (mutant == SWEEP_ASKS_LIFE_FIRST) {
          q.target = q.cell.slot;
          if (q.gone >> q.cell.slot & 1) toSweep(q);
          else toNextBlock(q);
          q.gone = 0;
        } else {
          q.step = LOOK_LIFE;
        }
        return true;
      case LOOK_LIFE:
        if (!isGone(s, i, q.cell.slot)) {
          toNextBlock(q);
        } else {
          q.target = q.cell.slot;
          if (mutant == SWEEP_LOADS_CELL_AGAIN) q.step = LOOK_AGAIN, q.cell = Cell();
          else toSweep(q);
        }
        return true;
      case LOOK_AGAIN:
        q.cell = block.cell;
        if (q.cell.hold == FREE || q.cell.hold == ORPHAN || q.cell.slot != q.target) toNextBlock(q);
        else toSweep(q);
        return true;
      case LOOK_SEEN:
        s.orphansSeen = mutant == LEFT_LOADED_LATE ? s.orphansLeft : q.orphans;
        finish(q);
        return true;
      case ORPHAN_LANE:
        // One that would only be freed is freed, also in a lane that has ended.
        q.lane = block.lane;
        q.position = q.pushGuess[q.lane];
        q.step = size.atLeastOnce || block.isMarked || hasRest(block) ? ORPHAN_END : R1_LOAD;
        if (block.lane >= size.lanes) q.step = R1_LOAD;
        if (q.step == R1_LOAD) q.lane = 0, q.position = 0;
        return true;
      case ORPHAN_END: {
        const Slot word = s.lanes[q.lane].slots[q.position % slots];
        if (isFree(word, q.position)) q.lane = 0, q.position = 0, q.step = R1_LOAD;
        else if (!isPushedWord(word, q.position)) q.position = std::max<int8_t>(q.position + 1, s.lanes[q.lane].tail);
        else if (word.index != END) q.position++;
        else q.pushGuess[q.lane] = q.position, toNextBlock(q);
        return true;
      }
      case R1_LOAD:
        q.cell = block.cell;
        if (q.cell.hold == ORPHAN) q.step = R1;
        else toNextBlock(q);
        return true;
      case R1: {
        const bool keepsSeq = mutant == ADOPT_KEEPS_SEQ || mutant == ORPHANS_KEEP_SEQ_TWICE || mutant == ORPHANS_AND_RETURNING_KEEP_SEQ;
        if (cas(s, q, {HELD, Byte(i), keepsSeq ? q.cell.seq : nextSeq(q.cell.seq)})) q.step = R2;
        else toNextBlock(q);
        return true;
      }
      case R2:
        assertMine(s, q);
        if (mutant != ADOPT_KEEPS_POSITION) block.position = awayFrom(s.lanes[block.lane].head);
        q.step = R3_REST;
        return true;
      default: {  // R3_REST
        const bool isToPush = size.atLeastOnce || block.isMarked || (hasRest(block) && mutant != ADOPT_DROPS_REST);
        block.isMarked = 0;
        q.step = isToPush ? AGAIN : T6;
        if (q.step == T6 && (mutant == RELEASE_KEEPS_POSITION || mutant == ADOPT_KEEPS_POSITION || mutant == RELEASE_MOVES_POSITION_LATE)) q.step = T7;
        return step(s, i);
      }
    }
  }

  void toOrphan(Peer& q) { q.step = mutant == LOOK_ADOPTS_BEHIND_END ? R1_LOAD : ORPHAN_LANE; }

  void toSweep(Peer& q) {
    q.step = q.cell.hold == HELD ? S3 : mutant == SWEEP_FREES_PUSHED ? S3 : S2_LANE;
  }

  // --- sweep.ts

  bool stepSweep(State& s, int i) {
    Peer& q = s.peers[i];
    Block& block = s.blocks[q.block];
    switch (q.step) {
      case S1:
        q.cell = block.cell;
        if (q.cell.hold == FREE || q.cell.hold == ORPHAN || q.cell.slot != q.target) unchanged(q);
        else toSweep(q);
        return true;
      case S2_LANE:
        q.lane = block.lane;
        q.step = S2_POSITION;
        return true;
      case S2_POSITION:
        q.position = block.position;
        q.step = S2_SLOT;
        return true;
      case S2_SLOT: {
        const Slot word = s.lanes[q.lane].slots[(q.position & ~AWAY) % slots];
        const bool isPushed = !(q.position & AWAY) && isPushedWord(word, q.position) && word.index == q.block;
        if (isPushed) unchanged(q);
        else q.step = S3;
        return true;
      }
      case S3: {
        const bool isOwned = q.cell.hold == OWNED;
        const bool keepsSeq = mutant == ORPHAN_KEEPS_SEQ || mutant == ORPHANS_KEEP_SEQ_TWICE || mutant == ORPHANS_AND_RETURNING_KEEP_SEQ;
        const Cell swept = isOwned ? Cell{FREE, 0, q.cell.seq} : Cell{ORPHAN, 0, keepsSeq ? q.cell.seq : nextSeq(q.cell.seq)};
        if (!cas(s, q, swept)) {
          unchanged(q);
          return true;
        }
        if (q.role == LOOKER && !isOwned) {
          q.cell = Cell();
          q.lane = q.target = 0;
          q.position = 0;
          toOrphan(q);
        } else if (q.role == LOOKER) {
          toNextBlock(q);
        } else {
          if (!isOwned) q.orphans = 1;
          unchanged(q);
        }
        return true;
      }
      case SWEEP_IS_ORPHAN:
        if (block.cell.hold == ORPHAN && mutant != SWEEP_COUNTS_OWN_ORPHANS_ONLY) q.orphans = 1;
        q.step = S1;
        if (++q.block == size.blocks) {
          q.block = 0;
          q.step = q.orphans ? SWEEP_LEFT : SWEEP_OVER;
        }
        return true;
      case SWEEP_LEFT:
        s.orphansLeft = Byte((s.orphansLeft + 1) % 16);
        q.step = SWEEP_OVER;
        return true;
      default:  // SWEEP_OVER
        s.peers[q.target].life = VACANT;
        finish(q);
        return true;
    }
  }

  // A sweep of this block has come to nothing more.
  void unchanged(Peer& q) {
    if (q.role == LOOKER) {
      toNextBlock(q);
      return;
    }
    q.cell = Cell();
    q.lane = 0;
    q.position = 0;
    q.step = SWEEP_IS_ORPHAN;
  }

  // --- MpmcQueue.end, reopen

  bool stepEnd(State& s, int i) {
    Peer& q = s.peers[i];
    Lane& lane = s.lanes[q.lane];
    const bool isEnd = size.ender[size.ender.size() - q.left] == 'E';
    switch (q.step) {
      case END_WALK: case REOPEN_WALK: {
        const Slot word = lane.slots[q.position % slots];
        if (isFree(word, q.position)) {
          q.pushGuess[q.lane] = q.position;
          q.word = word;
          if (isEnd) q.step = END_CAS;
          else nextEndLane(s, q);
        } else if (!isPushedWord(word, q.position)) {
          q.position = std::max<int8_t>(q.position + 1, lane.tail);
        } else if (word.index < END) {
          q.position++;
        } else {
          q.pushGuess[q.lane] = q.position;
          if (isEnd) nextEndLane(s, q);
          else q.step = REOPEN_CAS;
        }
        return true;
      }
      case END_CAS: {
        Slot& word = lane.slots[q.position % slots];
        if (word == q.word) {
          if (q.position != lane.pushed) fail("I1: END stands behind a position that is not pushed");
          if (q.position - slots >= lane.taken) fail("END overwrote a slot unread");
          word = {int8_t(lapOf(q.position) + 1), END};
          nextEndLane(s, q);
        } else {
          q.step = END_WALK;
        }
        q.word = Slot();
        return true;
      }
      case REOPEN_CAS: {
        Slot& word = lane.slots[q.position % slots];
        if (isPushedWord(word, q.position) && word.index == END) word = {int8_t(lapOf(q.position)), 0};
        q.step = REOPEN_WALK;
        return true;
      }
      case REOPEN_LEFT:
        s.orphansLeft = Byte((s.orphansLeft + 1) % 16);
        if (s.isEnding != 4) s.isEnding = 0;
        endScriptStep(q);
        return true;
      default: return false;
    }
  }

  void nextEndLane(State& s, Peer& q) {
    q.word = Slot();
    const bool isEnd = size.ender[size.ender.size() - q.left] == 'E';
    if (++q.lane < size.lanes) {
      q.position = q.pushGuess[q.lane];
      q.step = isEnd ? END_WALK : REOPEN_WALK;
      return;
    }
    if (!isEnd && mutant != REOPEN_WITHOUT_LEFT) {
      q.step = REOPEN_LEFT;
      return;
    }
    if (s.isEnding != 4) s.isEnding = isEnd ? 2 : 0;
    endScriptStep(q);
  }

  void endScriptStep(Peer& q) {
    q.left--;
    finish(q);
  }
};

// --- The command: mpmc-queue [--mutant NAME] [--states N] [--solo] name=value …

int run(int count, char** words) {
  Size size;
  const Assign toNumber = toNumbers({
      {"senders", &size.senders}, {"messages", &size.messages}, {"receivers", &size.receivers}, {"deadLetterReceivers", &size.deadLetterReceivers},
      {"lookers", &size.lookers}, {"provers", &size.provers}, {"sweepers", &size.sweepers}, {"slots", &size.slots}, {"blocks", &size.blocks},
      {"lanes", &size.lanes}, {"deadLane", &size.deadLane}, {"parts", &size.parts}, {"atLeastOnce", &size.atLeastOnce},
      {"maxDeliveries", &size.maxDeliveries}, {"kills", &size.kills}, {"requeues", &size.requeues}, {"copies", &size.copies}, {"restarts", &size.restarts}, {"leaves", &size.leaves}});
  const Assign assign = [&](const std::string& name, const std::string& value) {
    if (name == "ender") size.ender = value;
    else if (name == "restartRole") size.restartRole = value == "receiver" ? RECEIVER : SENDER;
    else return toNumber(name, value);
    return true;
  };
  Command command;
  const int code = readCommand(count, words, mutantNames, MUTANTS, assign, command);
  if (code >= 0) return code;
  MpmcQueue model(size, Mutant(command.mutant));
  return exploreModel(model, command);
}

}  // namespace models

int main(int count, char** words) { return models::run(count, words); }
