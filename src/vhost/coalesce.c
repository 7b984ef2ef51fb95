/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupt coalescing: a queue whose guest makes many requests signals it less often. On the
 * queue's reactor, but for the setting.
 *
 * As the management interface promises (vhost_controller_set_coalescing): the rate of requests is
 * measured every 10 ms; above iops_threshold a signal is followed by a time without another,
 *
 *	delay_base_us * (rate - iops_threshold) / iops_threshold
 *
 * at most 10 ms or delay_base_us, whichever is more. Below the threshold nothing is delayed.
 *
 * Whether the driver wants a signal is decided at each publish, as ever (EVENT_IDX, flags); only
 * the signal itself waits. It comes from a timer, which ends a sleep of the reactor too, or with
 * whatever signals the queue earlier: it is never lost. One that waits when the queue drains is
 * sent before the queue leaves.
 */
#include "vhost/virtqueue_impl.h"

#define COALESCE_SAMPLE_NS (10 * MSEC_NS)

void virtqueue_set_coalescing(struct virtqueue *vq, uint32_t delay_base_us, uint32_t iops_threshold)
{
	uint64_t setting = (uint64_t)delay_base_us << 32 | iops_threshold;

	atomic_store_explicit(
		&vq->coalesce.setting, delay_base_us ? setting : 0, memory_order_relaxed);
}

static uint64_t coalesce_delay_ns(uint64_t setting, uint64_t requests, uint64_t elapsed_ns)
{
	uint64_t base_ns = (setting >> 32) * USEC_NS;
	uint64_t threshold = setting & UINT32_MAX;
	/* Of at least one sample: no overflow, and no request is far from 2^33 a second. */
	uint64_t rate = requests * 1000 / (elapsed_ns / MSEC_NS);

	if (rate <= threshold)
		return 0;
	return u64_min(
		base_ns * (rate - threshold) / threshold, u64_max(COALESCE_SAMPLE_NS, base_ns));
}

static void coalesce_sample(struct virtqueue *vq, uint64_t now_ns)
{
	struct vq_coalesce *coalesce = &vq->coalesce;
	uint64_t setting = atomic_load_explicit(&coalesce->setting, memory_order_relaxed);
	uint64_t requests = atomic_load_explicit(&vq->stat_requests, memory_order_relaxed);
	uint64_t elapsed_ns = now_ns - coalesce->sampled_ns;

	if (elapsed_ns < COALESCE_SAMPLE_NS)
		return;
	coalesce->delay_ns = setting ? coalesce_delay_ns(setting,
					       requests - coalesce->sampled_requests, elapsed_ns)
				     : 0;
	coalesce->sampled_ns = now_ns;
	coalesce->sampled_requests = requests;
}

static void coalesce_late_fired(struct timer *timer)
{
	struct virtqueue *vq = container_of(timer, struct virtqueue, coalesce.late);

	vq->coalesce.next_ns = vq->reactor->now_ns + vq->coalesce.delay_ns;
	virtqueue_signal(vq);
}

bool coalesce_delays(struct virtqueue *vq)
{
	struct vq_coalesce *coalesce = &vq->coalesce;
	uint64_t now_ns = vq->reactor->now_ns;

	coalesce_sample(vq, now_ns);
	if (timer_is_started(&coalesce->late))
		return true;
	if (now_ns >= coalesce->next_ns) {
		coalesce->next_ns = now_ns + coalesce->delay_ns;
		return false;
	}
	coalesce->late.fired = coalesce_late_fired;
	timer_start(vq->reactor, &coalesce->late, coalesce->next_ns - now_ns);
	return true;
}

void coalesce_forget(struct virtqueue *vq)
{
	timer_stop(vq->reactor, &vq->coalesce.late);
}

void coalesce_flush(struct virtqueue *vq)
{
	if (timer_is_started(&vq->coalesce.late))
		virtqueue_signal(vq);
}
