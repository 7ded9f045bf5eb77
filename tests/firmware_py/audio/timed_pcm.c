/* A sound card without hardware, for tests: an ALSA ioplug that keeps time by CLOCK_MONOTONIC and wakes by a timerfd.
 *
 * It behaves as a card does: its position advances sample by sample whether anybody serves it or not, a buffer that ran
 * empty (playback) or full (capture) is -EPIPE, one that is unplugged is -ENODEV, and while somebody has it open (with
 * files behind it), others get -EBUSY. In an ALSA configuration:
 *
 *   pcm.NAME {
 *     type timed
 *     ppm 100            # its clock is this much faster than nominal; negative: slower
 *     capture PATH       # raw frames in the format of whoever opens it; file position 0 is the first start of capture,
 *                        # and what passes while it stands still after an xrun is gone; behind its end: silence
 *     playback PATH      # raw frames that were heard are appended, a period at once
 *     wire PATH          # 4 MB shared by both directions: what is heard comes back in capture ...
 *     delay 32           # ... this many frames later (playback and capture of one format)
 *     unplug PATH        # while this file exists, the card does not
 *     rate R, channels N, format S16_LE, period_bytes B    # what it has; else 8-192 kHz, 1-8, any, 64-65536
 *   }
 */
#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 65536
#define FRAME_BYTES_MAX 32

struct slot { int64_t index; char frame[FRAME_BYTES_MAX]; };
struct wire { int64_t epoch_ns; struct slot slots[SLOTS]; };

struct card {
	snd_pcm_ioplug_t io;
	long ppm, delay;
	char *unplug;
	int in, out;             /* files; -1: none */
	struct wire *wire;       /* NULL: none */
	double frames_per_ns;
	size_t frame_bytes;
	int64_t armed_ns;        /* when the timer expires, or did */
	int64_t start_ns;        /* 0: it stands still */
	int64_t first_start_ns;  /* 0: it never ran */
	int64_t heard;           /* frames since start that went to `out` */
	snd_pcm_uframes_t boundary, avail_min;
	char *written;           /* the ring buffer of playback, and as much again for what `out` lags behind */
	int64_t written_frames;
};

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int is_unplugged(struct card *c) { return c->unplug && access(c->unplug, F_OK) == 0; }

static int64_t frames_between(struct card *c, int64_t from_ns, int64_t to_ns)
{
	return (int64_t)((double)(to_ns - from_ns) * c->frames_per_ns);
}

/* The timer is readable exactly when avail_min frames are there to be moved. */
static void arm(struct card *c, int64_t moved)
{
	struct itimerspec at = {0};
	int64_t due = moved + (int64_t)c->avail_min, when;
	if (c->io.stream == SND_PCM_STREAM_PLAYBACK)
		due -= (int64_t)c->io.buffer_size;
	when = due > 0 && c->start_ns ? c->start_ns + (int64_t)(due / c->frames_per_ns) + 1 : 1;
	if (!c->start_ns && c->io.stream == SND_PCM_STREAM_CAPTURE)
		when = 0; /* never */
	if (when == c->armed_ns)
		return; /* one that expired stays readable; to set it again would cost an interrupt */
	c->armed_ns = when;
	at.it_value.tv_sec = when / 1000000000;
	at.it_value.tv_nsec = when % 1000000000;
	timerfd_settime(c->io.poll_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static int64_t wire_index(struct card *c, int64_t frame)
{
	return frames_between(c, c->wire->epoch_ns, c->start_ns) + frame;
}

/* Frames up to `until` have been heard; so many at once go to the file. */
static void hear(struct card *c, int64_t until, int64_t at_once)
{
	while (c->out >= 0 && until - c->heard >= at_once && until > c->heard) {
		int64_t place = c->heard % c->written_frames, count = until - c->heard;
		if (count > c->written_frames - place)
			count = c->written_frames - place;
		if (write(c->out, c->written + place * c->frame_bytes, count * c->frame_bytes) < 0)
			return;
		c->heard += count;
		at_once = 1;
	}
}

static snd_pcm_sframes_t timed_pointer(snd_pcm_ioplug_t *io)
{
	struct card *c = io->private_data;
	int64_t moved = io->appl_ptr, position;
	if (is_unplugged(c))
		return -ENODEV;
	arm(c, moved);
	if (!c->start_ns)
		return 0;
	position = frames_between(c, c->start_ns, now_ns());
	if (io->stream == SND_PCM_STREAM_CAPTURE)
		return position - moved >= (int64_t)io->buffer_size ? -EPIPE : position % (int64_t)c->boundary;
	hear(c, position < moved ? position : moved, position < moved ? (int64_t)io->period_size : 1);
	if (position < moved)
		return position % (int64_t)c->boundary;
	return io->state == SND_PCM_STATE_DRAINING ? moved % (int64_t)c->boundary : -EPIPE;
}

static int timed_start(snd_pcm_ioplug_t *io)
{
	struct card *c = io->private_data;
	if (is_unplugged(c))
		return -ENODEV;
	c->start_ns = now_ns();
	if (!c->first_start_ns)
		c->first_start_ns = c->start_ns;
	if (c->wire && io->stream == SND_PCM_STREAM_PLAYBACK) /* what was written before it ran */
		for (int64_t k = 0; k < (int64_t)io->appl_ptr; k++) {
			struct slot *slot = &c->wire->slots[wire_index(c, k) % SLOTS];
			memcpy(slot->frame, c->written + (k % c->written_frames) * c->frame_bytes, c->frame_bytes);
			slot->index = wire_index(c, k);
		}
	arm(c, io->appl_ptr);
	return 0;
}

static int timed_stop(snd_pcm_ioplug_t *io)
{
	struct card *c = io->private_data;
	if (c->start_ns && io->stream == SND_PCM_STREAM_PLAYBACK) {
		int64_t position = frames_between(c, c->start_ns, now_ns()), moved = io->appl_ptr;
		hear(c, position < moved ? position : moved, 1);
		for (int64_t k = position; c->wire && k < moved; k++) /* nobody will hear these */
			c->wire->slots[wire_index(c, k) % SLOTS].index = -1;
	}
	c->start_ns = c->heard = 0;
	arm(c, 0);
	return 0;
}

static int timed_prepare(snd_pcm_ioplug_t *io)
{
	struct card *c = io->private_data;
	if (is_unplugged(c))
		return -ENODEV;
	c->start_ns = c->heard = 0;
	arm(c, 0);
	return 0;
}

static void capture(struct card *c, int64_t frame, char *out, int64_t count)
{
	memset(out, 0, count * c->frame_bytes);
	if (c->wire) {
		int64_t index = wire_index(c, frame) - c->delay;
		for (; count-- > 0; index++, out += c->frame_bytes) {
			struct slot *slot = &c->wire->slots[(index % SLOTS + SLOTS) % SLOTS];
			if (slot->index == index)
				memcpy(out, slot->frame, c->frame_bytes);
		}
	} else if (c->in >= 0) {
		int64_t place = frames_between(c, c->first_start_ns, c->start_ns) + frame;
		if (pread(c->in, out, count * c->frame_bytes, place * c->frame_bytes) < 0)
			memset(out, 0, count * c->frame_bytes);
	}
}

static snd_pcm_sframes_t timed_transfer(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas,
					snd_pcm_uframes_t offset, snd_pcm_uframes_t size)
{
	struct card *c = io->private_data;
	char *samples = (char *)areas->addr + (areas->first + areas->step * offset) / 8; /* interleaved */
	if (is_unplugged(c))
		return -ENODEV;
	if (io->stream == SND_PCM_STREAM_CAPTURE)
		capture(c, io->appl_ptr, samples, size);
	else for (snd_pcm_uframes_t k = 0; k < size; k++, samples += c->frame_bytes) {
		int64_t frame = io->appl_ptr + k;
		memcpy(c->written + (frame % c->written_frames) * c->frame_bytes, samples, c->frame_bytes);
		if (c->wire && c->start_ns) {
			struct slot *slot = &c->wire->slots[wire_index(c, frame) % SLOTS];
			memcpy(slot->frame, samples, c->frame_bytes);
			slot->index = wire_index(c, frame);
		}
	}
	if (io->access == SND_PCM_ACCESS_RW_INTERLEAVED)
		arm(c, io->appl_ptr + size);
	return size;
}

static int timed_hw_params(snd_pcm_ioplug_t *io, snd_pcm_hw_params_t *params)
{
	struct card *c = io->private_data;
	(void)params;
	c->frame_bytes = snd_pcm_format_physical_width(io->format) / 8 * io->channels;
	c->frames_per_ns = io->rate * (1 + 1e-6 * c->ppm) / 1e9;
	c->avail_min = io->period_size;
	free(c->written);
	c->written_frames = 2 * io->buffer_size;
	c->written = calloc(c->written_frames, c->frame_bytes);
	return c->written && (!c->wire || c->frame_bytes <= FRAME_BYTES_MAX) ? 0 : -ENOMEM;
}

static int timed_sw_params(snd_pcm_ioplug_t *io, snd_pcm_sw_params_t *params)
{
	struct card *c = io->private_data;
	snd_pcm_sw_params_get_avail_min(params, &c->avail_min);
	snd_pcm_sw_params_get_boundary(params, &c->boundary);
	return 0;
}

static int timed_revents(snd_pcm_ioplug_t *io, struct pollfd *pfd, unsigned int count, unsigned short *revents)
{
	(void)count;
	*revents = !(pfd->revents & POLLIN) ? 0 : io->stream == SND_PCM_STREAM_PLAYBACK ? POLLOUT : POLLIN;
	return 0;
}

static int timed_close(snd_pcm_ioplug_t *io)
{
	struct card *c = io->private_data;
	if (c->wire)
		munmap(c->wire, sizeof *c->wire);
	if (c->in >= 0)
		close(c->in);
	if (c->out >= 0)
		close(c->out);
	if (io->poll_fd >= 0)
		close(io->poll_fd);
	free(c->unplug);
	free(c->written);
	free(c);
	return 0;
}

static const snd_pcm_ioplug_callback_t callbacks = {
	.start = timed_start, .stop = timed_stop, .pointer = timed_pointer, .transfer = timed_transfer,
	.prepare = timed_prepare, .hw_params = timed_hw_params, .sw_params = timed_sw_params,
	.poll_revents = timed_revents, .close = timed_close,
};

static int open_wire(struct card *c, const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int64_t none = 0, now = now_ns();
	if (fd < 0 || ftruncate(fd, sizeof *c->wire) < 0)
		return -errno;
	c->wire = mmap(NULL, sizeof *c->wire, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (c->wire == MAP_FAILED)
		return c->wire = NULL, -errno;
	__atomic_compare_exchange_n(&c->wire->epoch_ns, &none, now, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	return 0;
}

static int limit(snd_pcm_ioplug_t *io, int what, long only, unsigned int least, unsigned int most)
{
	return snd_pcm_ioplug_set_param_minmax(io, what, only ? only : least, only ? only : most);
}

SND_PCM_PLUGIN_DEFINE_FUNC(timed)
{
	const char *in = NULL, *out = NULL, *wire = NULL, *unplug = NULL, *format = NULL;
	long rate = 0, channels = 0, period_bytes = 0, ppm = 0, delay = 0;
	struct { const char *name; const char **text; long *number; } fields[] = {
		{"capture", &in, NULL}, {"playback", &out, NULL}, {"wire", &wire, NULL}, {"unplug", &unplug, NULL},
		{"format", &format, NULL}, {"rate", NULL, &rate}, {"channels", NULL, &channels},
		{"period_bytes", NULL, &period_bytes}, {"ppm", NULL, &ppm}, {"delay", NULL, &delay},
	};
	unsigned int accesses[] = {SND_PCM_ACCESS_RW_INTERLEAVED, SND_PCM_ACCESS_MMAP_INTERLEAVED};
	unsigned int formats[] = {SND_PCM_FORMAT_S16_LE, SND_PCM_FORMAT_S24_LE, SND_PCM_FORMAT_S24_3LE,
				  SND_PCM_FORMAT_S32_LE, SND_PCM_FORMAT_FLOAT_LE};
	unsigned int format_count = sizeof formats / sizeof *formats;
	snd_config_iterator_t i, next;
	int error = 0;
	(void)root;
	snd_config_for_each(i, next, conf) {
		snd_config_t *entry = snd_config_iterator_entry(i);
		const char *id;
		if (snd_config_get_id(entry, &id) < 0)
			continue;
		for (size_t k = 0; k < sizeof fields / sizeof *fields; k++)
			if (!strcmp(id, fields[k].name))
				error = fields[k].text ? snd_config_get_string(entry, fields[k].text)
						       : snd_config_get_integer(entry, fields[k].number);
		if (error < 0)
			return error;
	}
	if (unplug && access(unplug, F_OK) == 0)
		return -ENODEV;

	struct card *c = calloc(1, sizeof *c);
	if (!c)
		return -ENOMEM;
	c->ppm = ppm;
	c->delay = delay;
	c->unplug = unplug ? strdup(unplug) : NULL;
	c->in = in && stream == SND_PCM_STREAM_CAPTURE ? open(in, O_RDONLY | O_CLOEXEC) : -1;
	c->out = out && stream == SND_PCM_STREAM_PLAYBACK ? open(out, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
	c->io.version = SND_PCM_IOPLUG_VERSION;
	c->io.name = "Timed card without hardware";
	c->io.flags = SND_PCM_IOPLUG_FLAG_MONOTONIC | SND_PCM_IOPLUG_FLAG_BOUNDARY_WA;
	c->io.callback = &callbacks;
	c->io.private_data = c;
	c->io.poll_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	c->io.poll_events = POLLIN;
	if ((c->in >= 0 && flock(c->in, LOCK_EX | LOCK_NB) < 0) || (c->out >= 0 && flock(c->out, LOCK_EX | LOCK_NB) < 0))
		error = -EBUSY;
	else if (wire)
		error = open_wire(c, wire);
	if (error < 0 || (error = snd_pcm_ioplug_create(&c->io, name, stream, mode)) < 0) {
		timed_close(&c->io);
		return error;
	}
	if (format) {
		formats[0] = snd_pcm_format_value(format);
		format_count = 1;
	}
	if ((error = snd_pcm_ioplug_set_param_list(&c->io, SND_PCM_IOPLUG_HW_ACCESS, 2, accesses)) < 0 ||
	    (error = snd_pcm_ioplug_set_param_list(&c->io, SND_PCM_IOPLUG_HW_FORMAT, format_count, formats)) < 0 ||
	    (error = limit(&c->io, SND_PCM_IOPLUG_HW_CHANNELS, channels, 1, 8)) < 0 ||
	    (error = limit(&c->io, SND_PCM_IOPLUG_HW_RATE, rate, 8000, 192000)) < 0 ||
	    (error = limit(&c->io, SND_PCM_IOPLUG_HW_PERIOD_BYTES, period_bytes, 64, 65536)) < 0 ||
	    (error = limit(&c->io, SND_PCM_IOPLUG_HW_PERIODS, 0, 2, 32)) < 0) {
		snd_pcm_ioplug_delete(&c->io);
		return error;
	}
	*pcmp = c->io.pcm;
	return 0;
}

SND_PCM_PLUGIN_SYMBOL(timed);
