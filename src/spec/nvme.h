/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NVM Express as a host meets it: registers, queue entries, admin commands. NVM Express Base 2.0
 * ("base") and NVM Command Set 1.0 ("nvm"). All little-endian. What the host does not use is left
 * out; its place is kept.
 */
#ifndef SPEC_NVME_H
#define SPEC_NVME_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* ---- registers: base 3.1.3 ---------------------------------------------- */

#define NVME_REG_CAP  0x00u /* 64 bits */
#define NVME_REG_VS   0x08u
#define NVME_REG_CC   0x14u
#define NVME_REG_CSTS 0x1cu
#define NVME_REG_AQA  0x24u
#define NVME_REG_ASQ  0x28u /* 64 bits */
#define NVME_REG_ACQ  0x30u /* 64 bits */
#define NVME_REG_CRTO 0x68u

#define NVME_CAP_MQES(cap)   ((unsigned)((cap)&0xffff)) /* entries of a queue, less one */
#define NVME_CAP_TO(cap)     ((unsigned)((cap) >> 24 & 0xff)) /* 500 ms */
#define NVME_CAP_DSTRD(cap)  ((unsigned)((cap) >> 32 & 0xf)) /* 4 << DSTRD bytes */
#define NVME_CAP_CSS(cap)    ((unsigned)((cap) >> 37 & 0xff))
#define NVME_CAP_CSS_NVM     0x01u
#define NVME_CAP_MPSMIN(cap) ((unsigned)((cap) >> 48 & 0xf)) /* 4096 << MPSMIN bytes */
#define NVME_CAP_CRMS(cap)   ((unsigned)((cap) >> 59 & 0x3)) /* not 0: CRTO is there */

#define NVME_CC_EN           0x1u
#define NVME_CC_MPS_SHIFT    7
#define NVME_CC_SHN_MASK     0xc000u
#define NVME_CC_SHN_NORMAL   0x4000u
#define NVME_CC_IOSQES_SHIFT 16
#define NVME_CC_IOCQES_SHIFT 20

#define NVME_CSTS_RDY           0x1u
#define NVME_CSTS_CFS           0x2u
#define NVME_CSTS_SHST(csts)    ((csts) >> 2 & 0x3)
#define NVME_CSTS_SHST_COMPLETE 0x2u

#define NVME_AQA(sq_entries, cq_entries) (((cq_entries)-1u) << 16 | ((sq_entries)-1u))

#define NVME_CRTO_CRWMT(crto) ((crto)&0xffff) /* 500 ms */

#define NVME_TO_MS 500u

/* What reads of a function that is gone return. */
#define NVME_GONE_32 UINT32_MAX
#define NVME_GONE_64 UINT64_MAX

/* ---- queue entries: base 3.3.3 ------------------------------------------ */

struct nvme_sqe {
	uint8_t opcode;
	uint8_t flags; /* FUSE, PSDT: 0 for PRPs */
	uint16_t cid;
	uint32_t nsid;
	uint32_t cdw2;
	uint32_t cdw3;
	uint64_t mptr;
	uint64_t prp1;
	uint64_t prp2;
	uint32_t cdw10;
	uint32_t cdw11;
	uint32_t cdw12;
	uint32_t cdw13;
	uint32_t cdw14;
	uint32_t cdw15;
};
static_assert(sizeof(struct nvme_sqe) == 64, "base 3.3.3.1");
static_assert(offsetof(struct nvme_sqe, prp1) == 24, "base 3.3.3.1");

struct nvme_cqe {
	uint32_t dw0;
	uint32_t dw1;
	uint16_t sq_head;
	uint16_t sq_id;
	uint16_t cid;
	uint16_t status; /* phase in bit 0 */
};
static_assert(sizeof(struct nvme_cqe) == 16, "base 3.3.3.2");

#define NVME_SQE_SHIFT 6
#define NVME_CQE_SHIFT 4

#define NVME_CQE_PHASE       0x1u
#define NVME_CQE_SC(status)  ((unsigned)(status) >> 1 & 0xff)
#define NVME_CQE_SCT(status) ((unsigned)(status) >> 9 & 0x7)
#define NVME_CQE_DNR         0x8000u
#define NVME_STATUS(sct, sc) ((uint16_t)((sct) << 9 | (sc) << 1)) /* as in a cqe, without phase */
#define NVME_STATUS_CODE     0x0ffeu /* SCT and SC */

/* base 3.3.3.2.1 and nvm 3.1: status codes */
#define NVME_SC_SUCCESS           NVME_STATUS(0, 0x00)
#define NVME_SC_INVALID_OPCODE    NVME_STATUS(0, 0x01)
#define NVME_SC_INVALID_FIELD     NVME_STATUS(0, 0x02)
#define NVME_SC_TRANSFER_ERROR    NVME_STATUS(0, 0x04)
#define NVME_SC_INTERNAL          NVME_STATUS(0, 0x06)
#define NVME_SC_ABORT_REQUESTED   NVME_STATUS(0, 0x07)
#define NVME_SC_ABORT_SQ_DELETED  NVME_STATUS(0, 0x08)
#define NVME_SC_INVALID_NAMESPACE NVME_STATUS(0, 0x0b)
#define NVME_SC_WRITE_PROTECTED   NVME_STATUS(0, 0x20)
#define NVME_SC_LBA_RANGE         NVME_STATUS(0, 0x80)
#define NVME_SC_CAPACITY          NVME_STATUS(0, 0x81)
#define NVME_SC_INVALID_QUEUE     NVME_STATUS(1, 0x01)
#define NVME_SC_AER_LIMIT         NVME_STATUS(1, 0x05)
#define NVME_SC_WRITE_FAULT       NVME_STATUS(2, 0x80)
#define NVME_SC_READ_ERROR        NVME_STATUS(2, 0x81)

/* ---- admin commands: base 5 --------------------------------------------- */

#define NVME_ADMIN_DELETE_SQ    0x00
#define NVME_ADMIN_CREATE_SQ    0x01
#define NVME_ADMIN_GET_LOG_PAGE 0x02
#define NVME_ADMIN_DELETE_CQ    0x04
#define NVME_ADMIN_CREATE_CQ    0x05
#define NVME_ADMIN_IDENTIFY     0x06
#define NVME_ADMIN_ABORT        0x08
#define NVME_ADMIN_SET_FEATURES 0x09
#define NVME_ADMIN_GET_FEATURES 0x0a
#define NVME_ADMIN_ASYNC_EVENT  0x0c

/* 5.4, 5.5: cdw11 */
#define NVME_QUEUE_CONTIGUOUS 0x1u
#define NVME_CQ_INTERRUPTS    0x2u

/* 5.1: dw0 of the answer */
#define NVME_ABORT_NOT_DONE 0x1u

/* 5.27: features */
#define NVME_FEATURE_WRITE_CACHE  0x06
#define NVME_FEATURE_QUEUES       0x07
#define NVME_FEATURE_ASYNC_EVENTS 0x0b

/* 5.27.1.8 */
#define NVME_EVENTS_HEALTH     0x1fu
#define NVME_EVENTS_NAMESPACES 0x100u
#define NVME_EVENTS_FIRMWARE   0x200u

/* 5.2.1: dw0 of an asynchronous event */
#define NVME_EVENT_TYPE(dw0) ((dw0)&0x7)
#define NVME_EVENT_INFO(dw0) ((dw0) >> 8 & 0xff)
#define NVME_EVENT_LOG(dw0)  ((dw0) >> 16 & 0xff)

#define NVME_EVENT_ERROR  0
#define NVME_EVENT_HEALTH 1
#define NVME_EVENT_NOTICE 2

#define NVME_NOTICE_NAMESPACES 0x00

/* 5.16: log pages; cdw10 */
#define NVME_LOG_ERRORS             0x01
#define NVME_LOG_HEALTH             0x02
#define NVME_LOG_FIRMWARE           0x03
#define NVME_LOG_CHANGED_NAMESPACES 0x04

#define NVME_LOG_CDW10(page, bytes) ((uint32_t)(page) | ((uint32_t)(bytes) / 4 - 1) << 16)

#define NVME_NSID_ALL 0xffffffffu

/* 5.16.1.3 */
struct nvme_health {
	uint8_t critical_warning;
	uint8_t temperature[2]; /* kelvin */
	uint8_t available_spare; /* percent */
	uint8_t available_spare_threshold;
	uint8_t percentage_used;
	uint8_t endurance_group;
	uint8_t unused0[25];
	uint64_t data_units_read[2]; /* 128 bits; thousands of 512 bytes */
	uint64_t data_units_written[2];
	uint64_t host_reads[2];
	uint64_t host_writes[2];
	uint64_t busy_minutes[2];
	uint64_t power_cycles[2];
	uint64_t power_on_hours[2];
	uint64_t unsafe_shutdowns[2];
	uint64_t media_errors[2];
	uint64_t error_log_entries[2];
	uint32_t warning_minutes;
	uint32_t critical_minutes;
	uint16_t sensors[8]; /* kelvin; 0: none */
	uint8_t unused1[296];
};
static_assert(sizeof(struct nvme_health) == 512, "base 5.16.1.3");
static_assert(offsetof(struct nvme_health, data_units_read) == 32, "base 5.16.1.3");
static_assert(offsetof(struct nvme_health, sensors) == 200, "base 5.16.1.3");

/* ---- identify: base 5.17 ------------------------------------------------ */

#define NVME_CNS_NAMESPACE   0x00
#define NVME_CNS_CONTROLLER  0x01
#define NVME_CNS_NSIDS       0x02
#define NVME_CNS_DESCRIPTORS 0x03

#define NVME_IDENTIFY_BYTES 4096u
#define NVME_NSIDS_MAX      1024u

/* 5.17.2.1 */
struct nvme_identify_controller {
	uint16_t vid;
	uint16_t ssvid;
	char sn[20];
	char mn[40];
	char fr[8];
	uint8_t rab;
	uint8_t ieee[3];
	uint8_t cmic;
	uint8_t mdts; /* power of two of the least page size; 0: no limit */
	uint16_t cntlid;
	uint32_t ver;
	uint32_t rtd3r;
	uint32_t rtd3e; /* microseconds that a shutdown may take */
	uint32_t oaes;
	uint8_t unused0[160];
	uint16_t oacs;
	uint8_t acl;
	uint8_t aerl; /* asynchronous event requests, less one */
	uint8_t frmw;
	uint8_t lpa;
	uint8_t elpe;
	uint8_t npss;
	uint8_t unused1[248];
	uint8_t sqes;
	uint8_t cqes;
	uint16_t maxcmd;
	uint32_t nn;
	uint16_t oncs;
	uint16_t fuses;
	uint8_t fna;
	uint8_t vwc;
	uint16_t awun;
	uint16_t awupf;
	uint8_t unused2[238];
	char subnqn[256];
	uint8_t unused3[3072];
};
static_assert(sizeof(struct nvme_identify_controller) == 4096, "base 5.17.2.1");
static_assert(offsetof(struct nvme_identify_controller, mdts) == 77, "base 5.17.2.1");
static_assert(offsetof(struct nvme_identify_controller, oacs) == 256, "base 5.17.2.1");
static_assert(offsetof(struct nvme_identify_controller, sqes) == 512, "base 5.17.2.1");
static_assert(offsetof(struct nvme_identify_controller, vwc) == 525, "base 5.17.2.1");
static_assert(offsetof(struct nvme_identify_controller, subnqn) == 768, "base 5.17.2.1");

#define NVME_CMIC_MULTI_CONTROLLER 0x02u
#define NVME_OACS_SECURITY         0x01u
#define NVME_OACS_FORMAT           0x02u
#define NVME_OACS_FIRMWARE         0x04u
#define NVME_OACS_NAMESPACES       0x08u
#define NVME_ONCS_DEALLOCATE       0x04u
#define NVME_ONCS_WRITE_ZEROES     0x08u
#define NVME_VWC_PRESENT           0x01u

struct nvme_lba_format {
	uint16_t ms; /* bytes of metadata a block */
	uint8_t lbads; /* power of two */
	uint8_t rp;
};

/* nvm 4.1.5.1 */
struct nvme_identify_namespace {
	uint64_t nsze; /* blocks */
	uint64_t ncap;
	uint64_t nuse;
	uint8_t nsfeat;
	uint8_t nlbaf; /* less one */
	uint8_t flbas;
	uint8_t mc;
	uint8_t dpc;
	uint8_t dps;
	uint8_t nmic;
	uint8_t rescap;
	uint8_t fpi;
	uint8_t dlfeat;
	uint16_t nawun;
	uint16_t nawupf;
	uint16_t nacwu;
	uint16_t nabsn;
	uint16_t nabo;
	uint16_t nabspf;
	uint16_t noiob; /* blocks; 0: none */
	uint64_t nvmcap[2];
	uint8_t unused0[40];
	uint8_t nguid[16];
	uint8_t eui64[8];
	struct nvme_lba_format lbaf[64];
	uint8_t unused1[3712];
};
static_assert(sizeof(struct nvme_identify_namespace) == 4096, "nvm 4.1.5.1");
static_assert(offsetof(struct nvme_identify_namespace, nguid) == 104, "nvm 4.1.5.1");
static_assert(offsetof(struct nvme_identify_namespace, lbaf) == 128, "nvm 4.1.5.1");

#define NVME_FLBAS_FORMAT(flbas)      (((flbas)&0xf) | ((flbas) >> 1 & 0x30))
#define NVME_NSFEAT_ATOMIC            0x02u /* NAWUN, NAWUPF are of this namespace */
#define NVME_NMIC_SHARED              0x01u
#define NVME_DLFEAT_READ(dlfeat)      ((dlfeat)&0x7)
#define NVME_DLFEAT_READ_ZEROES       1
#define NVME_DLFEAT_ZEROES_DEALLOCATE 0x08u

/* base 5.17.2.3: namespace identification descriptor */
struct nvme_descriptor {
	uint8_t type;
	uint8_t length; /* of what follows */
	uint8_t unused[2];
};
static_assert(sizeof(struct nvme_descriptor) == 4, "base 5.17.2.3");

#define NVME_DESCRIPTOR_UUID 3
#define NVME_DESCRIPTOR_CSI  4

#define NVME_CSI_NVM 0

/* ---- commands on a namespace: nvm 3.2, base 7 --------------------------- */

#define NVME_FLUSH        0x00
#define NVME_WRITE        0x01
#define NVME_READ         0x02
#define NVME_WRITE_ZEROES 0x08
#define NVME_DSM          0x09

#define NVME_RW_BLOCKS_MAX        65536u
#define NVME_RW_FUA               (1u << 30) /* cdw12 */
#define NVME_ZEROES_DEALLOCATE    (1u << 25) /* cdw12 */
#define NVME_DSM_DEALLOCATE       (1u << 2) /* cdw11 */
#define NVME_DSM_RANGE_BLOCKS_MAX UINT32_MAX

struct nvme_dsm_range {
	uint32_t attributes;
	uint32_t blocks;
	uint64_t lba;
};
static_assert(sizeof(struct nvme_dsm_range) == 16, "nvm 3.2.3");

#endif
